"""Lines in, rows of a CSV file out. Every line that is not blank ends up in exactly one record.

The standard library's parser decides what a record is; this module decides what becomes of a record that
it refuses: its first line is unreadable, and reading goes on at the next one. So a stray quote costs the
row it stands in, and never the people after it. Batches in which every line is a record, which is nearly
all of them, are parsed in one go.
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

#: What tells people apart: a cell with digits, or an address. Its letters and digits in runs are its shape.
_TELLING = re.compile(r"[0-9@]")
_RUNS = re.compile(r"([^\W\d_]+)|([0-9]+)")


class _UnusableError(Exception):
    """The record cannot be read on."""


class _Cursor:
    """The lines for the parser, with a way back to the beginning of the present record."""

    def __init__(self, batches: Iterator[list[AnyLine]], limit: int, before: int) -> None:
        self._batches = batches
        self._limit = limit
        self._batch: list[AnyLine] = []
        self._position = self._start = 0
        self._length = 0  # characters of the present record so far
        self._dropped = before  # lines that are gone, those before our part of the file included
        self.damaged = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while self._position == len(self._batch):
            self._load()
        line = self._batch[self._position]
        self._position += 1
        # Counted line by line, so that where a block of the file ends decides nothing.
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
        """The next batch, whole, if all of it is plain text and the present one is used up."""
        if not self.drained:
            return None
        try:
            self._load()
        except StopIteration:
            return None
        return self._batch if all(type(line) is str for line in self._batch) else None  # type: ignore[return-value]

    def take_batch(self) -> None:
        """The batch was made use of."""
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
        """The number of the present record's first line."""
        return self._dropped + self._start + 1

    @property
    def record(self) -> list[AnyLine]:
        """The lines of the present record so far."""
        return self._batch[self._start : self._position]

    def begin(self) -> None:
        """A new record begins here."""
        self._start = self._position
        self._length = 0
        self.damaged = False

    def back_to_second_line(self) -> None:
        """Only the first line of the present record was one."""
        self._position = self._start + 1


class CsvRows:
    """The rows of one CSV file, in batches, behind its header.

    Of a part of a file that does not begin with its header: `header` is what it says, `before` the number
    of lines before that part.
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
        # The parser's own limit is global and would refuse fields that ours allows.
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
            raise InputError(f"{self._source}: the file is empty. A CSV file begins with a header line.")
        if isinstance(first, str):
            raise InputError(f"{self._source}: the header cannot be read: {ERRORS[first]}")
        if not any(name.strip() for name in first):
            raise InputError(f"{self._source}: the first line is no header: it must name the columns.")
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
                values = [""] * width  # a line of delimiters, however many, has nothing in it
            if isinstance(values, list) and len(values) == width:
                out.append(Row(number, line, source, values))
            else:
                out.append(self._unreadable(number, line, values))
            number += 1
        if out:
            yield out

    def _plain_rows(self, number: int) -> list[Row | Unreadable] | None:
        """The rows of a batch in which every line is one; None where a line needs a closer look."""
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
        self._cursor.take_batch()
        return [Row(number + i, line + i, source, values) for i, values in enumerate(records)]

    def _next_record(self) -> list[str] | str | None:
        """The next record's values, or the word for what is wrong with it; None behind the last one."""
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
        """Whether the lines within a quoted text are rows, each with a key where the first line has one."""
        if self._multiline or not self.header:
            return False
        first, *inner = (self._fields(text_of(line)) for line in record)
        within = inner[:-1] or inner
        return bool(first) and all(
            len(fields) == len(self.header) and any(map(_is_alike, first, fields)) for fields in within
        )

    def _fields(self, line: str) -> list[str]:
        """What a line by itself holds; a quote that it opens ends with it."""
        try:
            return next(csv.reader([line.rstrip("\r\n")], delimiter=self._delimiter), [])
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
    """Whether two cells are of one kind that tells people apart, such as addresses or numbers."""
    return bool(_TELLING.search(one)) and _shape(one) == _shape(other)


def _shape(text: str) -> str:
    shape = _RUNS.sub(lambda run: "a" if run[1] else "9", text.strip())
    # Whatever letters, digits and dots an address is made of, it is an address.
    return "@" if shape.count("@") == 1 else shape
