"""The lines of the files of outcomes, written and read back: results, and the rejected rows."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson

from engager.config.encodings import canonical
from engager.models import Outcome, Unreadable
from engager.reader.outcome_fields import RESULT_COLUMNS, Redact, result_fields

#: What is added to a row that was not engaged. No column of the input is called so.
REASON_COLUMNS = tuple(f"engager_{name}" for name in ("row", "line", "status", "error", "error_text", "raw"))

#: The column with the text of a record that could not be read.
_RAW = "engager_raw"

_MILLISECONDS = ("latency_ms", "waited_ms")

_LONGEST = 1 << 30

#: The row of a line that was read back, its fields, and the line as it is to be written.
Survivor = tuple[int, dict[str, Any], bytes]


class LineFormat(Protocol):
    """A file of lines that can be read back."""

    head: bytes

    def survivors(self, path: Path) -> Iterator[Survivor]:
        """The lines of a file that are whole."""
        ...


class JsonLines:
    """results.jsonl"""

    name = "results.jsonl"
    head = b""

    @staticmethod
    def line(fields: bytes) -> bytes:
        """A line, from its fields as a line of JSON."""
        return fields

    @staticmethod
    def survivors(path: Path) -> Iterator[Survivor]:
        """The lines of a file that are whole."""
        return (one for one in _json_survivors(path, "row") if tuple(one[1]) == RESULT_COLUMNS)


class CsvLines:
    """results.csv"""

    name = "results.csv"
    head = ",".join(RESULT_COLUMNS).encode() + b"\n"

    @staticmethod
    def line(fields: bytes) -> bytes:
        """A line, from its fields as a line of JSON."""
        return csv_line(map(_cell, orjson.loads(fields).values()), ",").encode()

    @staticmethod
    def survivors(path: Path) -> Iterator[Survivor]:
        """The records of a file that are whole, their fields in their types again."""
        for row, fields, line in _csv_survivors(path, "row", ",", "utf-8"):
            try:
                numbers = {name: float(fields[name]) if fields[name] else None for name in _MILLISECONDS}
                attempts, duplicate = int(fields["attempts"]), fields["duplicate"] == "true"
            except (KeyError, ValueError):
                continue
            texts = {name: without_guard(text) for name, text in fields.items()}
            yield row, {**texts, **numbers, "attempts": attempts, "duplicate": duplicate}, line


#: What a spreadsheet takes for a formula, and what `guarded` makes of one. A signed number is none.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def guarded(text: str) -> str:
    """The text with an apostrophe before what a spreadsheet would carry out.

    Source: OWASP, CSV Injection.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def without_guard(text: str) -> str:
    """What `guarded` was given."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return guarded(value) if isinstance(value, str) else value


def csv_line(values: Iterable[Any], delimiter: str) -> str:
    """One record of CSV."""
    buffer = io.StringIO()
    # Every character of the line end is quoted in a value: that is how a writer before Python 3.11.9 and
    # 3.12.3 is made to quote a carriage return, without which the record could not be read again.
    csv.writer(buffer, delimiter=delimiter, lineterminator="\r\n").writerow(values)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _reasons(outcome: Outcome, redact: Redact) -> dict[str, Any]:
    row = outcome.row
    raw = row.raw if isinstance(row, Unreadable) else None
    text = result_fields(outcome, redact)["error_text"]
    values = (row.number, row.line, outcome.status.value, outcome.error, text, raw)
    return dict(zip(REASON_COLUMNS, values, strict=True))


class MendableJson:
    """Rows of a JSONL input that were not engaged: the object as it was, and the reasons beside it.

    In the encoding of the input, so that the same job reads them again.
    """

    suffix = ".jsonl"

    def __init__(self, redact: Redact, encoding: str = "utf-8") -> None:
        self._redact = redact
        self._encoding = "utf-8" if canonical(encoding) in ("utf_8", "utf_8_sig") else encoding
        self.head = b"" if self._encoding == "utf-8" else "".encode(encoding)  # a byte order mark

    def line(self, outcome: Outcome) -> bytes:
        """One line."""
        values = {} if isinstance(outcome.row, Unreadable) else dict(outcome.row.values)  # type: ignore[arg-type]
        line = orjson.dumps({**values, **_reasons(outcome, self._redact)}, option=orjson.OPT_APPEND_NEWLINE)
        return line if self._encoding == "utf-8" else self._encoded(orjson.loads(line))

    def _encoded(self, fields: dict[str, Any]) -> bytes:
        """A line of ASCII, which every encoding has, without the mark that stands before the first."""
        return (json.dumps(fields) + "\n").encode(self._encoding).removeprefix(self.head)

    def survivors(self, path: Path) -> Iterator[Survivor]:
        """The lines of a file that are whole."""
        if self._encoding == "utf-8" or not path.exists():
            yield from _json_survivors(path, "engager_row")
            return
        with path.open(newline="\n", encoding=self._encoding, errors="replace") as file:
            for line in file:
                try:
                    fields = orjson.loads(line)
                    yield int(fields["engager_row"]), fields, self._encoded(fields)
                except (ValueError, TypeError, KeyError):
                    continue


class MendableCsv:
    """Rows of a CSV input that were not engaged, in the input's own dialect: mended, they are an input.

    A record that could not be read keeps its columns empty and its text in `engager_raw`: guessed
    columns could pass for mended ones and be sent.
    """

    def __init__(
        self, columns: Sequence[str], delimiter: str, encoding: str, redact: Redact, suffix: str = ".csv"
    ) -> None:
        """`suffix`: of the file's name, by which its delimiter is known when it is an input."""
        self.suffix = suffix
        # Fed again, a failed file brings its old reasons along.
        self._columns = [i for i, column in enumerate(columns) if column not in REASON_COLUMNS]
        self._raw = columns.index(_RAW) if _RAW in columns else None
        self._delimiter, self._encoding = delimiter, encoding
        self._redact = redact
        self._encode = codecs.getincrementalencoder(encoding)(errors="replace").encode
        head = [columns[i] for i in self._columns] + list(REASON_COLUMNS)
        self.head = self._encode(csv_line(head, delimiter))

    def line(self, outcome: Outcome) -> bytes:
        """One line."""
        values = [""] * len(self._columns)
        if not isinstance(outcome.row, Unreadable):
            row = outcome.row.values
            values = [row[i] for i in self._columns]  # type: ignore[index]
        facts = {name: _cell(value) for name, value in _reasons(outcome, self._redact).items()}
        if self._raw is not None and not isinstance(outcome.row, Unreadable):
            facts[_RAW] = outcome.row.values[self._raw]  # type: ignore[index]  # a record that nobody mended yet
        reasons = facts.values()
        return self._encode(csv_line([*values, *reasons], self._delimiter))

    def survivors(self, path: Path) -> Iterator[Survivor]:
        """The records of a file that are whole."""
        return _csv_survivors(path, "engager_row", self._delimiter, self._encoding)


def _json_survivors(path: Path, column: str) -> Iterator[Survivor]:
    """The whole lines of a JSONL file; none of one that is gone."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                fields = orjson.loads(line)
                yield int(fields[column]), fields, line
            except (ValueError, TypeError, KeyError):
                continue


def _csv_survivors(path: Path, column: str, delimiter: str, encoding: str) -> Iterator[Survivor]:
    """The whole records of a CSV file, its header aside; none of one that is gone."""
    if not path.exists():
        return
    csv.field_size_limit(_LONGEST)
    encode = codecs.getincrementalencoder(encoding)(errors="replace").encode
    encode("")
    with path.open(newline="", encoding=encoding, errors="replace") as file:
        records = csv.reader(file, delimiter=delimiter)
        try:
            header = next(records, [])
            encode(csv_line(header, delimiter))  # takes the byte order mark along
            for record in records:
                fields = dict(zip(header, record, strict=False))
                if len(record) == len(header) and fields.get(column, "").isdecimal():
                    yield int(fields[column]), fields, encode(csv_line(record, delimiter))
        except csv.Error:
            return
