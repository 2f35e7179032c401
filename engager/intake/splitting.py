"""Files in, ranges of whole rows out, each with the number of its first row: parts for several processes.

The invariant: the ranges, read one after the other, give the very rows that reading the whole would. Where
no quote stands in a file a line is a record, and lines are counted at the speed of memory; else the reader
itself says where its records begin.
"""

from __future__ import annotations

import codecs
import mmap
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engager.intake.csv_rows import CsvRows
from engager.intake.lines import lines

#: Bytes that are looked at in one go.
_WINDOW = 1 << 20

#: Encodings in which every byte below 128 is that character and nothing else, as `codecs` calls them.
_TRANSPARENT = re.compile(r"utf-8|ascii|iso8859-\d+|cp(125\d|437|866)|koi8-[ru]|mac-\w+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one file."""

    file: int  #: its place in the input
    begin: int  #: byte; 0 = with the header
    end: int | None  #: byte; None = to the file's end
    line: int  #: lines of the file before it


@dataclass(frozen=True, slots=True)
class Range:
    """Some rows that follow each other."""

    first_row: int
    pieces: tuple[Piece, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"first_row": self.first_row, "pieces": [asdict(piece) for piece in self.pieces]}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Range | None:
        """From what `as_dict` gave; None where all of the input is meant."""
        if "pieces" not in facts:
            return None
        return cls(facts["first_row"], tuple(Piece(**piece) for piece in facts["pieces"]))


@dataclass(frozen=True, slots=True)
class _Cut:
    """A place where a row begins."""

    offset: int
    line: int  #: lines before it
    rows: int  #: rows of the file before it


def can_split(encoding: str) -> bool:
    """Whether the bytes of a file can be told apart without reading its characters."""
    return _TRANSPARENT.fullmatch(codecs.lookup(encoding).name) is not None


def split(files: Sequence[Path], csv: bool, delimiter: str, max_row_bytes: int, parts: int) -> list[Range]:
    """So many ranges of about the same size, or fewer where there is too little to share."""
    sizes = [file.stat().st_size for file in files]
    total, begin, number = sum(sizes), 0, 1
    targets = [total * part // parts for part in range(1, parts)]
    starts: list[tuple[int, Piece]] = [(1, Piece(0, 0, None, 0))]
    for index, (file, size) in enumerate(zip(files, sizes, strict=True)):
        inside = [target - begin for target in targets if begin <= target < begin + size]
        begin += size
        further = any(target >= begin for target in targets)
        if not inside and not further:
            break
        cuts = list(_cuts(file, csv, delimiter, max_row_bytes, [*inside, size] if further else inside))
        starts += [(number + cut.rows, Piece(index, cut.offset, None, cut.line)) for cut in cuts]
        if further:
            number += cuts[-1].rows
            starts.pop()  # the file's own end begins no range
    return _ranges(starts, sizes)


def _ranges(starts: list[tuple[int, Piece]], sizes: list[int]) -> list[Range]:
    """The ranges between some starts; one in which nothing stands is left out."""
    ends = [*(piece for _, piece in starts[1:]), Piece(len(sizes) - 1, sizes[-1], None, 0)]
    ranges = []
    for (first_row, start), end in zip(starts, ends, strict=True):
        pieces = [
            Piece(
                file,
                start.begin if file == start.file else 0,
                end.begin if file == end.file and end is not ends[-1] else None,
                start.line if file == start.file else 0,
            )
            for file in range(start.file, end.file + 1)
        ]
        filled = tuple(p for p in pieces if p.begin < (sizes[p.file] if p.end is None else p.end))
        if filled:
            ranges.append(Range(first_row, filled))
    return ranges


def _cuts(file: Path, csv: bool, delimiter: str, limit: int, targets: list[int]) -> Iterator[_Cut]:
    """For every target the first row that begins behind it."""
    if not file.stat().st_size:
        yield from (_Cut(0, 0, 0) for _ in targets)
        return
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        if csv and not _has_plain_lines(memory):
            yield from _cuts_by_reading(memory, delimiter, limit, targets)
        else:
            yield from _cuts_by_lines(memory, csv, targets)


def _windows(memory: mmap.mmap, begin: int, end: int) -> Iterator[bytes]:
    """The whole lines between two places, in pieces."""
    while begin < end:
        stop = min(end, begin + _WINDOW)
        stop = (
            end
            if stop == end
            else memory.rfind(b"\n", begin, stop) + 1 or memory.find(b"\n", stop) + 1 or end
        )
        yield memory[begin:stop]
        begin = stop


def _has_plain_lines(memory: mmap.mmap) -> bool:
    """Whether a line is a record, come what may."""
    return all(
        b'"' not in window and window.count(b"\r") == window.count(b"\r\n")
        for window in _windows(memory, 0, len(memory))
    )


def _line_behind(memory: mmap.mmap, target: int) -> int:
    """Where the first line begins behind a place."""
    return memory.find(b"\n", max(0, target - 1)) + 1 or len(memory)


def _cuts_by_lines(memory: mmap.mmap, csv: bool, targets: list[int]) -> Iterator[_Cut]:
    offset = line = filled = 0
    for target in targets:
        cut = _line_behind(memory, target)
        for window in _windows(memory, offset, cut):
            line += window.count(b"\n")
            filled += _filled_lines(window, csv)
        offset = max(offset, cut)
        # The first line that is not blank is the header; a range cannot begin before it.
        yield _Cut(offset, line, max(0, filled - csv))


def _filled_lines(window: bytes, csv: bool) -> int:
    count = window.count(b"\n") + (not window.endswith(b"\n"))
    if csv:
        blank = window.startswith((b"\n", b"\r")) or b"\n\n" in window or b"\n\r" in window
    else:
        blank = window.count(b"\n{") + window.startswith(b"{") != count
    if not blank:
        return count
    return sum(bool(text.strip("\r\n") if csv else text.strip()) for text in _texts(window))


def _texts(window: bytes) -> Iterator[str]:
    return (line.decode(errors="replace") for line in window.removesuffix(b"\n").split(b"\n"))


def _cuts_by_reading(memory: mmap.mmap, delimiter: str, limit: int, targets: list[int]) -> Iterator[_Cut]:
    """The reader itself says at which lines rows begin; every byte is a character to it."""
    blocks = _windows(memory, 0, len(memory))
    rows = CsvRows(lines(blocks, "latin-1", limit), "", delimiter, limit)
    places = _Places(memory, targets)
    last = 0
    for batch in rows.batches(1):
        if not batch:
            continue
        last = batch[-1].number
        if not places.wanted or batch[-1].line <= places.wanted[0]:
            continue
        for row in batch:
            while places.wanted and row.line > places.wanted[0]:
                yield places.found(row.line - 1, row.number - 1)
    yield from (_Cut(len(memory), 0, last) for _ in places.wanted)


class _Places:
    """Targets as lines, and lines as offsets."""

    def __init__(self, memory: mmap.mmap, targets: list[int]) -> None:
        self._memory = memory
        self.wanted: list[int] = []  #: lines that end at or before the targets
        line = offset = 0
        for target in targets:
            cut = _line_behind(memory, target)
            line += sum(window.count(b"\n") for window in _windows(memory, offset, cut))
            offset = max(offset, cut)
            self.wanted.append(line if cut < len(memory) else sys.maxsize)
        self._line = self._offset = 0

    def found(self, line: int, rows: int) -> _Cut:
        """The cut behind so many lines, for the next target."""
        self.wanted.pop(0)
        while self._line < line and self._offset < len(self._memory):
            self._offset = self._memory.find(b"\n", self._offset) + 1 or len(self._memory)
            self._line += 1
        return _Cut(self._offset, line, rows)
