"""Writes and reads the lines of the files of outcomes: results, and rejected rows."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson

from engager.models import Outcome, Unreadable
from engager.reader.outcome_fields import RESULT_COLUMNS, Redact, result_fields

#: The columns that are added to a row that was not engaged. No column of the input has such a name.
REASON_COLUMNS = tuple(f"engager_{name}" for name in ("row", "line", "status", "error", "error_text", "raw"))

#: The column with the text of an unreadable record.
_RAW = "engager_raw"

_MILLISECONDS = ("latency_ms", "waited_ms")

_LONGEST = 1 << 30

#: The number of the row of a line that was read, its fields, and the line as it is written again.
Survivor = tuple[int, dict[str, Any], bytes]


class LineFormat(Protocol):
    """The format of a file whose lines can be read again."""

    head: bytes

    def survivors(self, path: Path) -> Iterator[Survivor]:
        """Yields the complete lines of a file."""
        ...


class JsonLines:
    """results.jsonl"""

    name = "results.jsonl"
    head = b""

    @staticmethod
    def line(fields: bytes) -> bytes:
        """Returns a line, from its fields as a line of JSON."""
        return fields

    @staticmethod
    def survivors(path: Path) -> Iterator[Survivor]:
        """Yields the complete lines of a file."""
        return (one for one in _json_survivors(path, "row") if tuple(one[1]) == RESULT_COLUMNS)


class CsvLines:
    """results.csv"""

    name = "results.csv"
    head = ",".join(RESULT_COLUMNS).encode() + b"\n"

    @staticmethod
    def line(fields: bytes) -> bytes:
        """Returns a line, from its fields as a line of JSON."""
        return csv_line(map(_cell, orjson.loads(fields).values()), ",").encode()

    @staticmethod
    def survivors(path: Path) -> Iterator[Survivor]:
        """Yields the complete records of a file, with their fields in their types."""
        for row, fields, line in _csv_survivors(path, "row", ",", "utf-8"):
            try:
                numbers = {name: float(fields[name]) if fields[name] else None for name in _MILLISECONDS}
                attempts, duplicate = int(fields["attempts"]), fields["duplicate"] == "true"
            except (KeyError, ValueError):
                continue
            texts = {name: without_guard(text) for name, text in fields.items()}
            yield row, {**texts, **numbers, "attempts": attempts, "duplicate": duplicate}, line


#: Text that a spreadsheet executes as a formula, also after `guarded`. A signed number is not a formula.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def guarded(text: str) -> str:
    """Returns the text, with an apostrophe before it if a spreadsheet would execute it.

    Source: OWASP, CSV Injection.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def without_guard(text: str) -> str:
    """Returns the text that `guarded` was called with."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return guarded(value) if isinstance(value, str) else value


def csv_line(values: Iterable[Any], delimiter: str) -> str:
    """Returns one record of CSV."""
    buffer = io.StringIO()
    # The writer quotes every character of its line terminator: with this one, versions before Python 3.11.9
    # and 3.12.3 quote a carriage return, too. Unquoted, the record could not be read again.
    csv.writer(buffer, delimiter=delimiter, lineterminator="\r\n").writerow(values)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _reasons(outcome: Outcome, redact: Redact) -> dict[str, Any]:
    row = outcome.row
    raw = row.raw if isinstance(row, Unreadable) else None
    text = result_fields(outcome, redact)["error_text"]
    values = (row.number, row.line, outcome.status.value, outcome.error, text, raw)
    return dict(zip(REASON_COLUMNS, values, strict=True))


class RejectedJson:
    """Rows of a JSONL input that were not engaged: the object of the input, and the reasons."""

    suffix = ".jsonl"
    head = b""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact

    def line(self, outcome: Outcome) -> bytes:
        """One line."""
        values = {} if isinstance(outcome.row, Unreadable) else dict(outcome.row.values)  # type: ignore[arg-type]
        return orjson.dumps({**values, **_reasons(outcome, self._redact)}, option=orjson.OPT_APPEND_NEWLINE)

    @staticmethod
    def survivors(path: Path) -> Iterator[Survivor]:
        """Yields the complete lines of a file."""
        return _json_survivors(path, "engager_row")


class RejectedCsv:
    """Rows of a CSV input that were not engaged, in the dialect of the input: corrected, they are an input.

    An unreadable record has empty columns and its text in `engager_raw`: guessed columns could be taken for
    corrected ones and be sent.
    """

    def __init__(
        self, columns: Sequence[str], delimiter: str, encoding: str, redact: Redact, suffix: str = ".csv"
    ) -> None:
        """`suffix`: of the name of the file; it gives the delimiter when the file becomes an input."""
        self.suffix = suffix
        # A rejected-rows file that is the input has the reasons of the earlier run.
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
            facts[_RAW] = outcome.row.values[self._raw]  # type: ignore[index]  # an unreadable record that is not corrected yet
        reasons = facts.values()
        return self._encode(csv_line([*values, *reasons], self._delimiter))

    def survivors(self, path: Path) -> Iterator[Survivor]:
        """Yields the complete records of a file."""
        return _csv_survivors(path, "engager_row", self._delimiter, self._encoding)


def _json_survivors(path: Path, column: str) -> Iterator[Survivor]:
    """Yields the complete lines of a JSONL file; nothing if the file does not exist."""
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
    """Yields the complete records of a CSV file after its header; nothing if the file does not exist."""
    if not path.exists():
        return
    csv.field_size_limit(_LONGEST)
    encode = codecs.getincrementalencoder(encoding)(errors="replace").encode
    encode("")
    with path.open(newline="", encoding=encoding, errors="replace") as file:
        records = csv.reader(file, delimiter=delimiter)
        try:
            header = next(records, [])
            encode(csv_line(header, delimiter))  # consumes the byte order mark
            for record in records:
                fields = dict(zip(header, record, strict=False))
                if len(record) == len(header) and fields.get(column, "").isdecimal():
                    yield int(fields[column]), fields, encode(csv_line(record, delimiter))
        except csv.Error:
            return
