"""Standard streams that never end a command: closed, full, without a reader, or with a small character set.

A failed write is remembered as the fault of its stream and not raised, because only the end of a command
knows what the fault means for the exit code.
"""

from __future__ import annotations

import errno
import io
import os
import select
import shutil
import sys
import textwrap
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Condition, Thread
from typing import Any, TextIO

import click
import orjson

from engager.config.sanitize import printable

#: Bytes that a pipe takes atomically.
_PIECE = 4096

#: Maximum number of bytes that wait for a reader; further bytes are dropped.
_MOST_WAITING = 1 << 20

#: Seconds for which the end of a command waits for a reader that does not read.
PATIENCE = 2.0

_NAMES = ("stdin", "stdout", "stderr")


class Output(io.RawIOBase):
    """A descriptor for output.

    A run writes `in_background`: a thread waits for the reader instead of the event loop. The thread ends
    when everything is written, because a fork is only safe without threads.
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
        """Whether it can be written: always."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def close(self) -> None:
        """Stay open: two streams may share it, and the descriptor belongs to the process."""

    @property
    def is_behind(self) -> bool:
        """Whether output still waits for the reader."""
        return self._writer is not None

    def write(self, data: Any) -> int:
        """Write all data, now or soon. Raises nothing; see `fault`."""
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
        """Whether a piece can be written without waiting; for a terminal that is never known."""
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
            except BlockingIOError:  # another process made it non-blocking
                select.select([], [self._descriptor], [])
            except OSError as fault:
                self.fault = fault

    def drain(self) -> None:
        """Wait until everything is written, for as long as the reader reads."""
        with self._changed:
            while self._writer is not None and self.fault is None:
                before = self._size
                self._changed.wait(PATIENCE)
                if self._writer is not None and self._size == before:
                    self.fault = self.fault or TimeoutError(errno.ETIMEDOUT, "the reader does not read")


class _Text(io.TextIOWrapper):
    """A text stream that writes the characters that its encoding lacks as escapes."""

    def __init__(self, output: Output, encoding: str) -> None:
        super().__init__(output, encoding, "backslashreplace", line_buffering=True)  # type: ignore[arg-type]
        self.output = output

    @property
    def buffer(self) -> Any:
        """Hidden: click would use it to write UTF-8 to an ASCII stream."""
        raise AttributeError("buffer")


@contextmanager
def standard_streams() -> Iterator[None]:
    """Replace the standard streams by reliable ones while this is entered."""
    _occupy_descriptors()
    kept = sys.stdin, sys.stdout, sys.stderr
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
    sys.stdout, sys.stderr = _relied_on(1, kept[1]), _relied_on(2, kept[2])
    if isinstance(sys.stdout, _Text) and isinstance(sys.stderr, _Text) and _is_one_terminal():
        # With two writers a live view would be removed after the lines that follow it, and these with it.
        sys.stdout = _Text(sys.stderr.output, sys.stdout.encoding)
    try:
        yield
    finally:
        drain()
        sys.stdin, sys.stdout, sys.stderr = kept


def _is_one_terminal() -> bool:
    """Whether stdout and stderr are the same terminal."""
    return os.isatty(1) and os.isatty(2) and os.path.samestat(os.fstat(1), os.fstat(2))


def _occupy_descriptors() -> None:
    """Occupy the descriptors of closed streams, so that no file gets their numbers.

    Writes to them are dropped. Reads fail, so a closed stdin is not an empty input.
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
    """A reliable stream for a descriptor; a stream that a program has replaced stays as it is."""
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
    """Write in the background while this is entered: a slow reader delays nothing."""
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
    """Wait for the background output, for as long as its reader reads."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    for output in _outputs():
        output.drain()


def fault_of_stdout() -> str | None:
    """Why stdout could not be written; returned once."""
    output = _output(sys.stdout)
    if output is None or output.fault is None or output.is_told:
        return None
    output.is_told = True
    return output.fault.strerror or str(output.fault)


def stdout_lost_its_reader() -> bool:
    """Whether the reader of stdout has closed its end, as `head` does when it has enough."""
    output = _output(sys.stdout)
    return output is not None and output.fault is not None and output.fault.errno == errno.EPIPE


def stderr_is_behind() -> bool:
    """Whether output still waits for the reader of stderr."""
    output = _output(sys.stderr)
    return output is not None and output.is_behind


def say(text: object, err: bool = False, wrap: bool = False) -> None:
    """Print a text: the one way of every command to do so.

    What others wrote in it (file names, columns, values, responses) cannot control the terminal. With `wrap`
    no word is broken at the edge of a terminal, where a line is no command.
    """
    shown = printable(str(text))
    if wrap and (sys.stderr if err else sys.stdout).isatty():
        width = shutil.get_terminal_size().columns
        shown = "\n".join(_wrapped(line, width) for line in shown.split("\n"))
    click.echo(shown, err=err)


def _wrapped(line: str, width: int) -> str:
    words = line.lstrip()
    if len(line) <= width or words.startswith("engager "):  # a command is copied as one line
        return line
    indent = " " * (len(line) - len(words))
    return textwrap.fill(
        words,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def echo_json(document: bytes) -> None:
    """Write a JSON document to stdout; characters that its encoding lacks become JSON escapes."""
    text = document.decode()
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        import json

        text = json.dumps(orjson.loads(document), indent=2)
    print(text)
