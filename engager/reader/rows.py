"""Reads an input as chunks of numbered rows: the entry of this package.

Invariant: every record of every file is returned exactly once, in order, also if it is malformed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Literal

from engager.config.encodings import LONGEST_MARK, mark_of
from engager.errors import InputError
from engager.models import Row, Unreadable
from engager.reader.counting import counting, has_plain_ends
from engager.reader.csv_rows import CsvRows, NoHeaderError
from engager.reader.diagnosis import HEAD, examined, fault_of_size
from engager.reader.file_watch import FileWatch
from engager.reader.garbage import GarbageWatch, garbled
from engager.reader.input_verifier import InputVerifier
from engager.reader.jsonl_rows import JsonlRows
from engager.reader.lines import AnyLine, lines, text_of
from engager.reader.sources import (
    STDIN,
    Format,
    blocks,
    find_files,
    format_of,
    is_plain,
    open_stream,
    refuse_repeated,
    stdin_stream,
)

Record = Row | Unreadable

#: Bytes that are read at once. A larger block would delay the event loop for longer, and save nothing.
BLOCK = 1 << 16

#: JSONL rows that are read for the names of their keys.
PEEKED = 1000


#: What the standard input is called.
STDIN_NAME = "stdin"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What to read and how."""

    path: str  #: a file, a glob, or "-" for stdin
    base: Path  #: the folder that a relative path begins at
    format: Format | None = None  #: None: from the name of the file
    delimiter: str | None = None  #: for CSV; None: a comma, in .tsv files a tab
    encoding: str = "utf-8"
    max_row_bytes: int = 1 << 20
    stream: str = STDIN_NAME  #: what a stream is called
    examine: bool = True  #: refuse a file that seems to be of another kind, or to have no header
    on_empty: Literal["ok", "fail"] = "fail"  #: whether an input without a row is refused
    multiline: bool = False  #: lines within quotes are one text, also if they look like rows


class Rows:
    """An open input: its columns are known, and its rows can be read once."""

    def __init__(
        self,
        spec: InputSpec,
        block: int = BLOCK,
        stdin: BinaryIO | None = None,
        verifier: InputVerifier | None = None,
    ) -> None:
        self._spec, self._block, self._stdin = spec, block, stdin
        self.verifier = verifier or InputVerifier()
        #: Called with each warning about the input; until it is replaced, warnings are collected.
        self.warnings: list[str] = []
        self.warn: Callable[[str], object] = self.warnings.append
        self._garbled: set[str] = set()  #: files that are warned of already
        self._streams: list[BinaryIO] = []
        self.files: list[Path] = [] if spec.path == STDIN else find_files(spec.path, spec.base)
        refuse_repeated(self.files)
        self.format: Format = _format(spec, self.files)
        self.delimiter = spec.delimiter or _delimiter(self.files)
        self.columns: tuple[str, ...] | None = None
        self.has_mark = False  #: the input begins with a byte order mark
        self._is_cut = False
        self._peeked: list[list[Record]] = []
        try:
            self._check_headers()
            self._rest = self._batches()
            self._peek()
        except BaseException:
            self.close()
            raise

    def _check_headers(self) -> None:
        """Check the header of every file before any row is read: a run must not stop half-way for one."""
        for file in filter(Path.is_file, self.files):  # the bytes of a pipe can be read only once
            self._examine(file)
            if self.format == "jsonl":
                continue
            try:
                header = self._header(file)
            except NoHeaderError:
                if len(self.files) > 1:
                    raise
                return  # an input without a row
            self.columns = self.columns or header
            if sorted(header) != sorted(self.columns):
                odd = ", ".join(sorted(map(repr, set(header) ^ set(self.columns)))) or "repeated names"
                raise InputError(
                    f"{file}: its columns are not those of {self.files[0]}: {odd}. "
                    "All files of one input need the same columns."
                )

    def _examine(self, file: Path) -> None:
        """Refuse a file of another kind, and warn of one that seems to be read in a wrong encoding."""
        with open_stream(file) as stream:
            head = next(self._examined(blocks(stream, str(file), HEAD), str(file)), b"")[:HEAD]
        if fault := fault_of_size(file, self._spec.encoding):
            self.warn(f"{file}: {fault}. Check whether the file is complete")
        if fault := garbled(head, self._spec.encoding):
            self._garbled.add(_called(file))
            self.warn(f"{file}: {fault}")

    def _examined(self, data: Iterator[bytes], source: str) -> Iterator[bytes]:
        if not self._spec.examine:
            return data
        return examined(data, source, self._spec.encoding, None if self.format == "jsonl" else self.delimiter)

    def _header(self, file: Path) -> tuple[str, ...]:
        with open_stream(file) as stream:
            return self._csv(blocks(stream, str(file), self._block), str(file)).header

    def _csv(self, data: Iterator[bytes], source: str) -> CsvRows:
        spec = self._spec
        batches = lines(data, spec.encoding, spec.max_row_bytes)
        return CsvRows(
            self._noting_end(batches), source, self.delimiter, spec.max_row_bytes, multiline=spec.multiline
        )

    def _noting_end(self, batches: Iterator[list[AnyLine]]) -> Iterator[list[AnyLine]]:
        """Yields the lines, and notes whether the last one has a line end."""
        for batch in batches:
            if batch:
                self._is_cut = not text_of(batch[-1]).endswith(("\n", "\r"))
            yield batch

    def _jsonl(self, data: Iterator[bytes], source: str) -> JsonlRows:
        spec = self._spec
        return JsonlRows(lines(data, spec.encoding, spec.max_row_bytes), source)

    def _batches(self) -> Iterator[list[Record]]:
        number = 1
        for source, stream, last, watch in self._opened():
            data = self._examined(blocks(stream, source, self._block), source)
            if number == 1:
                data = self._noting_mark(data)
            if source not in self._garbled:
                data = GarbageWatch(source, self._spec.encoding, lambda text: self.warn(text)).watched(data)
            self._is_cut = False
            verified = self.verifier.watch(data, source, last)
            if watch is not None:
                verified = watch.watched(verified, self.verifier.digest)
            for batch in self._batches_of(verified, source, number):
                if batch:
                    number = batch[-1].number + 1
                    if self._is_cut and isinstance(batch[-1], Row):
                        self._warn_of_cut(batch[-1])
                yield batch
        self.verifier.end()

    def _noting_mark(self, data: Iterator[bytes]) -> Iterator[bytes]:
        head = b""
        for block in data:
            if len(head) < LONGEST_MARK:  # a pipe may give out single bytes
                head += block[:LONGEST_MARK]
                self.has_mark |= mark_of(head) is not None
            yield block

    def _warn_of_cut(self, row: Row) -> None:
        self.warn(
            f"{row.source}, line {row.line}: row {row.number} is the last one, and its line has no end. "
            "Check whether the file is complete"
        )

    def _opened(self) -> Iterator[tuple[str, BinaryIO, bool, FileWatch | None]]:
        """Yields for every file its name, its stream, whether it is the last one, and its watch."""
        if not self.files:
            self._streams = [self._stdin or stdin_stream()]
            yield self._spec.stream, self._streams[0], True, None
            return
        for file in self.files:
            watch = FileWatch(file, self.verifier.digest) if file.is_file() else None
            stream = open_stream(file)
            self._streams = [stream]
            with stream:
                yield _called(file), stream, file is self.files[-1], watch

    def _batches_of(self, data: Iterator[bytes], source: str, number: int) -> Iterator[list[Record]]:
        if self.format == "jsonl":
            yield from self._jsonl(data, source).batches(number)
            return
        try:
            rows = self._csv(data, source)
        except NoHeaderError:
            if len(self.files) > 1:
                raise
            return
        self.columns = self.columns or rows.header
        if rows.header == self.columns:
            yield from rows.batches(number)
            return
        order = [rows.header.index(column) for column in self.columns]
        for batch in rows.batches(number):
            yield [_reordered(record, order) for record in batch]

    def counting(self) -> Iterator[int] | None:
        """Counts the rows of the input; None if that needs decoding, or the input can be read only once."""
        if not self.files or self.is_stream or not all(map(is_plain, self.files)):
            return None
        return counting(self.files, self.format == "csv") if has_plain_ends(self._spec.encoding) else None

    def _peek(self) -> None:
        """Read the first rows before any is sent. Raises InputError if there must be some."""
        if batch := next(filter(None, self._rest), None):
            self._peeked.append(batch)
        elif self._spec.on_empty == "fail":
            raise InputError(
                f"{self.name}: the input has no row. Check the export. If a night may have no row, set "
                'input.on_empty = "ok".'
            )

    @property
    def given_total(self) -> int | None:
        """The number of rows that the program which gives them has stated."""
        return getattr(self._stdin, "total", None)

    @property
    def has_several(self) -> bool:
        """Whether the first rows, which are read before any is sent, are several."""
        return any(len(batch) > 1 for batch in self._peeked)

    @property
    def first_records(self) -> list[Record]:
        """The records that were read before the first is handed out."""
        return [record for batch in self._peeked for record in batch]

    @property
    def name(self) -> str:
        """The files, or what the stream is called."""
        return ", ".join(map(str, self.files)) or self._spec.stream

    @property
    def is_stream(self) -> bool:
        """Whether reading may have to wait for another program: stdin, a pipe."""
        return not all(map(Path.is_file, self.files)) or not self.files

    def peek_keys(self) -> frozenset[str]:
        """The keys of the first JSONL rows. Reads more of a file, but not of a stream, which may be slow."""
        filled = filter(None, self._rest)
        while self.files and sum(map(len, self._peeked)) < PEEKED and (batch := next(filled, None)):
            self._peeked.append(batch)
        records = (record for batch in self._peeked for record in batch if isinstance(record, Row))
        return frozenset(chain.from_iterable(record.values for record in records))

    def chunks(self, size: int = 256) -> Iterator[list[Record]]:
        """Yields the rows, at most `size` at once. Blocks while it reads. Raises InputError.

        A chunk is empty if a block has no row, so that the caller is not blocked for long.
        """
        while self._peeked:
            yield from _cut(self._peeked.pop(0), size)
        for batch in self._rest:
            yield from _cut(batch, size) if batch else [batch]

    def close(self) -> None:
        """Close all streams."""
        for stream in self._streams:
            stream.close()


def _called(file: Path) -> str:
    """The name of a file as text; on disk it may be any bytes."""
    return os.fsencode(file).decode(errors="replace")


def _cut(batch: list[Record], size: int) -> Iterator[list[Record]]:
    for begin in range(0, len(batch), size):
        yield batch[begin : begin + size]


def _reordered(record: Record, order: list[int]) -> Record:
    if isinstance(record, Row):
        record.values = [record.values[index] for index in order]  # type: ignore[index]
    return record


def _format(spec: InputSpec, files: list[Path]) -> Format:
    if spec.format is not None:
        return spec.format
    formats = {format_of(file) for file in files}
    if len(formats) == 1 and (only := formats.pop()) is not None:
        return only
    raise InputError(f'{spec.path}: its name does not show the format. Set input.format to "csv" or "jsonl".')


def _delimiter(files: list[Path]) -> str:
    return "\t" if files and files[0].suffixes and ".tsv" in files[0].suffixes else ","


def open_rows(spec: InputSpec, stdin: BinaryIO | None = None, verifier: InputVerifier | None = None) -> Rows:
    """Open an input. Raises InputError if it cannot be read, or is not the one that `verifier` knows."""
    return Rows(spec, stdin=stdin, verifier=verifier)
