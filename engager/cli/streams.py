"""The standard streams of a command: closed, full, without a reader, or of few characters, none ends it.

What cannot be written is remembered as a fault of its stream instead of being raised: only the end of a
command knows what it means for the exit code.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Condition, Thread
from typing import Any, TextIO

import orjson

#: Bytes that a pipe takes at once, or not at all.
_PIECE = 4096

#: Bytes that wait for a reader at most; what comes beyond is lost.
_MOST_WAITING = 1 << 20

#: Seconds that the end of a command waits for a reader that reads nothing.
PATIENCE = 2.0

_NAMES = ("stdin", "stdout", "stderr")


class Output(io.RawIOBase):
    """A descriptor that is written to.

    A run writes `in_background`: its event loop must not wait for a reader, so a thread does. The thread ends
    with what there is to write, as processes can only be forked safely where there is none.
    """

    def __init__(self, descriptor: int) -> None:
        self.fault: OSError | None = None  #: why nothing is written any more
        self.is_told = False  #: the fault was reported
        self.in_background = False
        self._descriptor, self._process = descriptor, os.getpid()
        self._waiting = deque[bytes]()
        self._size = 0  #: bytes that wait
        self._writer: Thread | None = None
        self._changed = Condition()

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return os.isatty(self._descriptor)

    @property
    def behind(self) -> bool:
        """Whether the reader has not taken yet what was written."""
        return self._writer is not None

    def write(self, data: Any) -> int:
        """Write all of the data, now or soon. Raises nothing: see `fault`."""
        whole = bytes(data)
        # A forked process has none of its parent's threads.
        if self.in_background and os.getpid() == self._process:
            with self._changed:
                self._hand_over(whole)
        else:
            self._bring(whole)
        return len(whole)

    def _hand_over(self, whole: bytes) -> None:
        while whole and self._writer is None and self._takes_a_piece():
            self._bring(whole[:_PIECE])
            whole = whole[_PIECE:]
        if not whole or self._size + len(whole) > _MOST_WAITING:
            return
        self._waiting.append(whole)
        self._size += len(whole)
        if self._writer is None:
            self._writer = Thread(target=self._bring_all, daemon=True)
            try:
                self._writer.start()
            except RuntimeError:  # no memory for a thread: what waits is lost
                self._writer, self._size = None, 0
                self._waiting.clear()

    def _takes_a_piece(self) -> bool:
        """Whether a piece can be written without waiting; of a terminal that is never known."""
        if self.isatty() or not hasattr(select, "poll"):
            return False
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0))

    def _bring_all(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._writer = None
                    self._changed.notify_all()
                    return
                whole = self._waiting.popleft()
            for start in range(0, len(whole), _PIECE):
                piece = whole[start : start + _PIECE]
                self._bring(piece)
                with self._changed:
                    self._size -= len(piece)
                    self._changed.notify_all()

    def _bring(self, data: bytes) -> None:
        while data and self.fault is None:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody else has made it so
                select.select([], [self._descriptor], [])
            except OSError as fault:
                self.fault = fault

    def drain(self) -> None:
        """Wait for what was handed over, as long as somebody reads it."""
        with self._changed:
            while self._writer is not None and self.fault is None:
                before = self._size
                self._changed.wait(PATIENCE)
                if self._writer is not None and self._size == before:
                    self.fault = self.fault or TimeoutError(errno.ETIMEDOUT, "nobody reads it")


class _Text(io.TextIOWrapper):
    """Text of any characters, for a stream of any encoding: what it lacks is written as an escape."""

    def __init__(self, output: Output, encoding: str) -> None:
        super().__init__(output, encoding, "backslashreplace", line_buffering=True)  # type: ignore[arg-type]
        self.output = output

    @property
    def buffer(self) -> Any:
        """Kept: click would write UTF-8 to a stream of ASCII by it."""
        raise AttributeError("buffer")


@contextmanager
def standard_streams() -> Iterator[None]:
    """Streams that every command can rely on, as long as this is entered."""
    _take_descriptors()
    kept = sys.stdin, sys.stdout, sys.stderr
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
    sys.stdout, sys.stderr = _relied_on(1, kept[1]), _relied_on(2, kept[2])
    try:
        yield
    finally:
        drain()
        sys.stdin, sys.stdout, sys.stderr = kept


def _take_descriptors() -> None:
    """Give no file that is opened later the number of a stream that was closed.

    What is written there is dropped. What is read there is a fault, and no empty input.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            taken = os.open(os.devnull, os.O_WRONLY)
            if taken != descriptor:
                os.dup2(taken, descriptor)
                os.close(taken)
            with suppress(OSError):
                os.set_inheritable(descriptor, True)


def _relied_on(descriptor: int, stream: TextIO | None) -> TextIO:
    """The process's own stream made reliable; one that a program has put in its place stays as it is."""
    if stream is None:
        return _Text(Output(descriptor), "utf-8")
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, _Text):
        return stream
    try:
        if stream.fileno() != descriptor:
            return stream
        stream.flush()
    except (OSError, ValueError):
        return stream
    return _Text(Output(descriptor), stream.encoding)


def _output(stream: object) -> Output | None:
    found = getattr(stream, "output", None)
    return found if isinstance(found, Output) else None


def _outputs() -> Sequence[Output]:
    return [found for stream in (sys.stdout, sys.stderr) if (found := _output(stream)) is not None]


@contextmanager
def in_background() -> Iterator[None]:
    """Nobody who reads can hold up what is done here."""
    outputs = _outputs()
    for output in outputs:
        output.in_background = True
    try:
        yield
    finally:
        drain()
        for output in outputs:
            output.in_background = False


def drain() -> None:
    """Wait for what was written in the background, as long as somebody reads it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    for output in _outputs():
        output.drain()


def fault_of_stdout() -> str | None:
    """Why stdout could not be written; told once."""
    output = _output(sys.stdout)
    if output is None or output.fault is None or output.is_told:
        return None
    output.is_told = True
    return output.fault.strerror or str(output.fault)


def stderr_is_behind() -> bool:
    """Whether what stderr shows now would only be seen later."""
    output = _output(sys.stderr)
    return output is not None and output.behind


def echo_json(document: bytes) -> None:
    """Write a JSON document to stdout; where its encoding lacks characters, with JSON's own escapes."""
    text = document.decode()
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        import json

        text = json.dumps(orjson.loads(document), indent=2)
    print(text)
