"""Rows that a program gives as mappings: as lines of JSON, so that they are read and resumed as a stream is.

Invariant: every object becomes exactly one line, in order, also one that JSON cannot represent.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sized
from concurrent.futures import TimeoutError as NotYetError
from contextlib import suppress
from os import PathLike
from queue import Empty, SimpleQueue
from threading import Thread
from types import GeneratorType
from typing import Any, BinaryIO, cast

import orjson

from engager.errors import InputError

#: Rows of a program: mappings, or a data frame of pandas or polars.
Objects = Iterable[Any] | AsyncIterable[Any]

#: The name of such an input.
OBJECTS = "rows of a program"

#: Seconds of a wait for a row, after which the rows before it are passed on.
_SLOW = 0.001

#: Seconds between two checks whether an input that gives no row was closed.
_LOOK_UP = 0.25

_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY


def stream_of_objects(rows: Objects, total: int | None = None) -> BinaryIO:
    """The rows as a stream of JSONL; of an async iterable, in its running loop. Raises InputError.

    `total`: how many there are, where that is known; by default their length, if they have one.
    """
    if isinstance(rows, AsyncIterable):
        return cast(BinaryIO, _AsyncStream(aiter(rows), asyncio.get_running_loop(), total))
    if isinstance(rows, str | bytes | PathLike | Mapping) or not isinstance(rows, Iterable):
        raise InputError(
            f"input: {type(rows).__name__} gives no rows. Give a path, or rows: a list, an iterator or an "
            "async iterator of mappings, or a data frame."
        )
    known = len(rows) if total is None and isinstance(rows, Sized) else total
    return cast(BinaryIO, _Stream(rows, known))


def _records(rows: Any) -> Iterable[Any]:
    """The rows of a data frame, which itself iterates over its columns; of anything else, its items."""
    if hasattr(rows, "iter_rows"):  # polars
        return cast(Iterable[Any], rows.iter_rows(named=True))
    if hasattr(rows, "to_dict"):  # pandas
        return cast(Iterable[Any], rows.to_dict("records"))
    return cast(Iterable[Any], rows)


class _Stream(io.RawIOBase):
    """An iterator of rows, which one thread of its own begins, reads and ends.

    So a generator can open what may be used in one thread only, such as a connection of sqlite3.
    """

    def __init__(self, rows: Iterable[Any], total: int | None) -> None:
        self.total = total
        self._given = rows
        self._rows: Iterator[Any] | None = None
        self._thread: Thread | None = None
        self._asked = SimpleQueue[int | None]()  #: bytes that are wanted; None: nothing more
        self._found = SimpleQueue[bytes]()
        self._ahead = b""  #: bytes that no block had room for
        self._many = 1  #: rows of a block: doubled while they come quickly, one where they are waited for
        self._fault: InputError | None = None  #: what ended the rows, once those before it are passed on

    def readable(self) -> bool:
        """It is."""
        return True

    def read1(self, size: int) -> bytes:
        """Returns the next rows, at most `size` bytes; none at the end. Raises InputError."""
        if not self._ahead:
            self._ahead = b"" if self._fault else self._next_lines(size)
        if not self._ahead and self._fault:
            raise self._fault
        block, self._ahead = self._ahead[:size], self._ahead[size:]
        return block

    def _next_lines(self, size: int) -> bytes:
        if self._thread is None:
            self._thread = Thread(target=self._serve, name="rows of a program", daemon=True)
            self._thread.start()
        self._asked.put(size)
        while not self.closed:
            try:
                return self._found.get(timeout=_LOOK_UP)
            except Empty:
                continue
        return b""

    def _serve(self) -> None:
        while (size := self._asked.get()) is not None:
            self._found.put(self._read_lines(size))
        if isinstance(self._rows, GeneratorType):
            with suppress(Exception):  # the run is over
                self._rows.close()

    def close(self) -> None:
        """Ask for no further row; a generator is closed."""
        super().close()
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(_LOOK_UP)  # it may wait for its next row for ever
            self._thread = None

    def _read_lines(self, size: int) -> bytes:
        lines, begun = bytearray(), time.monotonic()
        try:
            if self._rows is None:
                self._rows = iter(_records(self._given))
            for _ in range(self._many):
                lines += _line(next(self._rows))
                if len(lines) >= size:
                    break
        except StopIteration:
            pass
        except Exception as fault:
            self._fault = _broken(fault)
        quick = time.monotonic() - begun < _SLOW * self._many
        self._many = min(2 * self._many, size) if quick else 1
        return bytes(lines)


class _AsyncStream(_Stream):
    """An async iterator of rows, which is read from another thread than that of its loop."""

    def __init__(self, rows: AsyncIterator[Any], loop: asyncio.AbstractEventLoop, total: int | None) -> None:
        super().__init__((), total)
        self._source, self._loop = rows, loop
        self._next: asyncio.Future[Any] | None = None  #: the next row, while it is waited for

    def _next_lines(self, size: int) -> bytes:
        asked = asyncio.run_coroutine_threadsafe(self._gather(size), self._loop)
        while not self.closed:
            try:
                return asked.result(_LOOK_UP)
            except NotYetError:
                continue
        asked.cancel()
        return b""

    def close(self) -> None:
        """Ask for no further row."""
        if self._next is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._next.cancel)
        super().close()

    async def _gather(self, size: int) -> bytes:
        """The rows that come without a wait, or the next one."""
        lines = bytearray()
        try:
            while len(lines) < size:
                self._next = self._next or asyncio.ensure_future(anext(self._source))
                await asyncio.wait([self._next], timeout=_SLOW if lines else None)
                if not self._next.done():
                    break
                asked, self._next = self._next, None
                lines += _line(asked.result())
        except StopAsyncIteration:
            pass
        except Exception as fault:
            self._fault = _broken(fault)
        return bytes(lines)


def _broken(fault: Exception) -> InputError:
    text = str(fault).rstrip(".")
    thread = ""
    if type(fault).__module__ == "sqlite3" and "thread" in text:
        thread = (
            " The rows are read in a thread of their own: open the connection in the generator, or with "
            "check_same_thread=False."
        )
    return InputError(
        f"input: it ended with {type(fault).__name__}: {text}.{thread} Fix this, and make the same call with "
        "the same rows in the same order: it resumes."
    )


def _line(row: Any) -> bytes:
    """The line of a row; of one that JSON cannot represent, a line that is no row, with the reason."""
    try:
        values = dict(row) if isinstance(row, Mapping) or hasattr(row, "keys") else None
        if values is not None:
            return orjson.dumps(values, default=_plain, option=_OPTIONS)
        reason = f"{type(row).__name__} is no mapping"
    except Exception as fault:  # whatever a value of a row raises is the outcome of that row
        reason = str(fault)
    return orjson.dumps([reason.encode(errors="replace").decode()], option=orjson.OPT_APPEND_NEWLINE)


def _plain(value: Any) -> Any:
    """A value of another type as JSON has it. Raises TypeError."""
    if type(value).__name__ in ("NaTType", "NAType"):  # what pandas has in the place of nothing
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if type(value).__module__ in ("decimal", "_decimal", "uuid", "ipaddress"):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
