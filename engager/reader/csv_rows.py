"""Parses the lines of a CSV file. Invariant: every line that is not blank is part of exactly one record.

The parser of the standard library decides what a record is. If it refuses a record, the first line of the
record becomes an unreadable row, and parsing continues at the next line: a stray quote costs its own row and
never the rows after it. Batches in which every line is a record, nearly all of them, are parsed at once.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Sequence

from engager.config.encodings import has_kept_bytes
from engager.errors import InputError
from engager.models import Row, Unreadable
from engager.reader.lines import ERRORS, AnyLine, TextLine, shown, text_of
from engager.reader.outcome_lines import REASON_COLUMNS

#: Delimiters that files have, the most common first.
DELIMITERS = (",", ";", "\t", "|")

#: A cell that identifies a person has digits, or is an address. Its shape is its runs of letters and digits.
_TELLING = re.compile(r"[0-9@]")
_RUNS = re.compile(r"([^\W\d_]+)|([0-9]+)")


class NoHeaderError(InputError):
    """The file has no line."""


class _UnusableError(Exception):
    """The record cannot be completed."""


class _Cursor:
    """The lines for the parser; it can return to the beginning of the current record."""

    def __init__(self, batches: Iterator[list[AnyLine]], limit: int, before: int) -> None:
        self._batches = batches
        self._limit = limit
        self._batch: list[AnyLine] = []
        self._position = self._start = 0
        self._length = 0  # characters of the current record so far
        self._dropped = before  # lines that were consumed, those before this part of the file included
        self.damaged = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while self._position == len(self._batch):
            self._load()
        line = self._batch[self._position]
        self._position += 1
        # Counted line by line, so that the result does not depend on where a block of the file ends.
        self._length += len(text_of(line))
        if self._length > self._limit and self._position - self._start > 1:
            raise _UnusableError
        if isinstance(line, str):
            return line
        self.damaged = True
        if line.error == "too_long":
            raise _UnusableError
        return line.text

    def whole_batch(self) -> list[str] | None:
        """The next batch if all its lines are plain text and the current batch is consumed; else None."""
        if not self.drained:
            return None
        try:
            self._load()
        except StopIteration:
            return None
        return self._batch if all(type(line) is str for line in self._batch) else None  # type: ignore[return-value]

    def consume_batch(self) -> None:
        """Mark the batch as consumed."""
        self._position = len(self._batch)

    def _load(self) -> None:
        kept = self._batch[self._start :]
        # The next batch first: at the end of the file everything must stay as it is.
        batch = next(self._batches)
        self._dropped += self._start
        self._position -= self._start
        self._start = 0
        self._batch = kept + batch if kept else batch

    @property
    def drained(self) -> bool:
        """Whether the next line would have to be read from the file."""
        return self._position == len(self._batch)

    @property
    def line(self) -> int:
        """The number of the first line of the current record."""
        return self._dropped + self._start + 1

    @property
    def record(self) -> list[AnyLine]:
        """The lines of the current record so far."""
        return self._batch[self._start : self._position]

    def begin(self) -> None:
        """Begin a new record."""
        self._start = self._position
        self._length = 0
        self.damaged = False

    def back_to_second_line(self) -> None:
        """Return to the second line of the current record: its first line was a record of its own."""
        self._position = self._start + 1


class CsvRows:
    """The rows of one CSV file, in batches, after its header.

    For a part of a file that does not begin with the header, `header` is the header of the file, and `before`
    is the number of lines before the part.
    """

    def __init__(
        self,
        batches: Iterator[list[AnyLine]],
        source: str,
        delimiter: str,
        limit: int,
        header: tuple[str, ...] | None = None,
        before: int = 0,
        multiline: bool = False,
    ) -> None:
        # The limit of the parser is global and would refuse fields that `limit` allows.
        csv.field_size_limit(sys.maxsize)
        self._source, self._delimiter, self._multiline = source, delimiter, multiline
        self._cursor = _Cursor(batches, limit, before)
        self._reader = csv.reader(self._cursor, delimiter=delimiter, strict=True)
        self.header: tuple[str, ...] = header or ()
        self.header = header or self._read_header()

    def _read_header(self) -> tuple[str, ...]:
        first = self._next_record()
        while first == []:
            self._cursor.begin()
            first = self._next_record()
        if first is None:
            raise NoHeaderError(f"{self._source}: the file is empty. A CSV file begins with a header line.")
        if isinstance(first, str):
            raise InputError(f"{self._source}: the header cannot be read: {ERRORS[first]}")
        if not any(name.strip() for name in first):
            raise InputError(f"{self._source}: the first line is not a header: it must name the columns.")
        return tuple(first)

    def batches(self, number: int) -> Iterator[list[Row | Unreadable]]:
        """The rows as they come; the first one is row `number`. A batch may be empty."""
        out: list[Row | Unreadable] = []
        blank = False
        width, source, cursor = len(self.header), self._source, self._cursor
        while True:
            if cursor.drained and (out or blank):
                yield out
                out, blank = [], False
            cursor.begin()
            if (plain := self._plain_rows(number)) is not None:
                yield plain
                number += len(plain)
                continue
            line, values = cursor.line, self._next_record()
            if values is None:
                break
            if not values:
                blank = True
                continue
            if isinstance(values, list) and not any(values):
                values = [""] * width  # a line of delimiters only, however many, is an empty row
            if isinstance(values, list) and len(values) == width:
                out.append(Row(number, line, source, values))
            else:
                out.append(self._unreadable(number, line, values))
            number += 1
        if out:
            yield out

    def _plain_rows(self, number: int) -> list[Row | Unreadable] | None:
        """The rows of a batch in which every line is a row; None if a line needs the full parser."""
        batch = self._cursor.whole_batch()
        if batch is None:
            return None
        try:
            records = list(csv.reader(batch, delimiter=self._delimiter, strict=True))
        except csv.Error:
            return None
        width, source, line = len(self.header), self._source, self._cursor.line
        if len(records) != len(batch) or any(len(values) != width for values in records):
            return None
        self._cursor.consume_batch()
        return [Row(number + i, line + i, source, values) for i, values in enumerate(records)]

    def _next_record(self) -> list[str] | str | None:
        """The values of the next record, or the code of its error; None after the last record."""
        cursor = self._cursor
        try:
            values = next(self._reader)
        except StopIteration:
            return None
        except (csv.Error, _UnusableError):
            cursor.back_to_second_line()
            first = cursor.record[0]
            return first.error if isinstance(first, TextLine) else "bad_quotes"
        if cursor.damaged and not self._is_damaged_beside_row(values):
            return "bad_bytes"
        if (
            self.header
            and not self._multiline
            and len(cursor.record) > 1
            and self._has_swallowed(cursor.record)
        ):
            cursor.back_to_second_line()
            return "swallowed_rows"
        return values

    def _is_damaged_beside_row(self, values: Sequence[str]) -> bool:
        """Whether bad bytes are only in columns that an earlier run added, which hold no part of the row."""
        reasons = {i for i, name in enumerate(self.header) if name in REASON_COLUMNS}
        return bool(reasons) and not any(
            has_kept_bytes(text) for i, text in enumerate(values) if i not in reasons
        )

    def _has_swallowed(self, record: Sequence[AnyLine]) -> bool:
        """Whether a line within a quoted text is a row: it has a key where the first line has one."""
        first, *inner = (text_of(line).rstrip("\r\n") for line in record)
        known = self._fields(first)
        # The quote in the last line may be the one that it opens as a row: it is judged without quotes, too.
        read = [*map(self._fields, inner), inner[-1].split(self._delimiter)]
        return any(len(fields) == len(self.header) and any(map(_is_alike, known, fields)) for fields in read)

    def _fields(self, line: str) -> list[str]:
        """The fields of a line by itself; a quote that it opens ends with the line."""
        try:
            return next(csv.reader([line], delimiter=self._delimiter), [])
        except csv.Error:
            return []

    def _unreadable(self, number: int, line: int, values: list[str] | str) -> Unreadable:
        raw = shown("".join(map(text_of, self._cursor.record)))
        if isinstance(values, str):
            return Unreadable(number, line, self._source, values, ERRORS[values], raw)
        text = f"{len(values)} fields where the header has {len(self.header)}"
        if text_of(self._cursor.record[-1]).endswith("\r"):
            text += "; a carriage return ends this line"
        return Unreadable(number, line, self._source, "field_count", text, raw)


def _is_alike(one: str, other: str) -> bool:
    """Whether two cells identify people in the same way, such as two addresses or two numbers."""
    return bool(_TELLING.search(one)) and _shape(one) == _shape(other)


def _shape(text: str) -> str:
    shape = _RUNS.sub(lambda run: "a" if run[1] else "9", text.strip())
    # All addresses have one shape, whatever letters, digits and dots they have.
    return "@" if shape.count("@") == 1 else shape
