"""Writes and reads the lines of the files of outcomes: results, and rejected rows."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from engager.config.encodings import KEEP_BYTES, WIDE, canonical, encoder_of
from engager.models import Outcome, Unreadable
from engager.reader.outcome_fields import EARLIER_COLUMNS, RESULT_COLUMNS, Redact, result_fields

#: The columns that are added to a row that was not engaged. No column of the input has such a name.
REASON_COLUMNS = tuple(f"engager_{name}" for name in ("row", "line", "status", "error", "error_text", "raw"))

#: The column with the text of an unreadable record.
_RAW = "engager_raw"

#: A byte that the encoding does not have, as a text keeps it.
_BYTE = re.compile("[\udc80-\udcff]")

#: The columns that a line of results can have.
_COLUMNS = (RESULT_COLUMNS, EARLIER_COLUMNS)

_MILLISECONDS = ("latency_ms", "waited_ms")

_LONGEST = 1 << 30

#: The number of the row of a line that was read, its fields, and the line as it is written again.
WholeLine = tuple[int, dict[str, Any], bytes]


class LineFormat(Protocol):
    """The format of a file whose lines can be read again."""

    head: bytes

    def whole_lines(self, path: Path) -> Iterator[WholeLine]:
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
    def whole_lines(path: Path) -> Iterator[WholeLine]:
        """Yields the complete lines of a file."""
        return (one for one in _whole_json_lines(path, "row") if tuple(one[1]) in _COLUMNS)


def csv_head(columns: Sequence[str]) -> bytes:
    """The head of a CSV file of results."""
    return ",".join(columns).encode() + b"\n"


class CsvLines:
    """results.csv"""

    name = "results.csv"
    head = csv_head(RESULT_COLUMNS)

    def __init__(self, columns: Sequence[str] = RESULT_COLUMNS) -> None:
        self.head = csv_head(columns)

    @staticmethod
    def line(fields: bytes) -> bytes:
        """Returns a line, from its fields as a line of JSON."""
        return csv_line(map(_cell, orjson.loads(fields).values()), ",").encode()

    @staticmethod
    def whole_lines(path: Path) -> Iterator[WholeLine]:
        """Yields the complete records of a file, with their fields in their types."""
        for row, fields, line in _whole_csv_lines(path, "row", ",", "utf-8"):
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


@dataclass(frozen=True, slots=True)
class TextForm:
    """How the characters of a file are written."""

    encoding: str = "utf-8"
    has_mark: bool = False  #: it begins with a byte order mark, also where the encoding needs none

    def writer(self) -> tuple[Callable[[str], bytes], bytes]:
        """What encodes the text of one file, and the mark that the file begins with."""
        encode = encoder_of(self.encoding)
        mark = encode("")
        if self.has_mark and not mark and canonical(self.encoding) in ("utf_8", *WIDE):
            mark = encode("\ufeff")
        return encode, mark


class RejectedJson:
    """Rows of a JSONL input that were not engaged: the object as it was, and the reasons beside it.

    JSON has no bytes: those that the encoding does not have stand as `\\xff` in `engager_raw`.
    """

    suffix = ".jsonl"

    def __init__(self, redact: Redact, form: TextForm | None = None) -> None:
        form = form or TextForm()
        self._redact, self._encoding = redact, form.encoding
        self._is_utf8 = canonical(form.encoding) in ("utf_8", "utf_8_sig")
        self._encode, self.head = form.writer()

    def line(self, outcome: Outcome) -> bytes:
        """One line."""
        values = {} if isinstance(outcome.row, Unreadable) else dict(outcome.row.values)  # type: ignore[arg-type]
        reasons = _reasons(outcome, self._redact)
        if values.get(_RAW) is not None:
            reasons[_RAW] = values[_RAW]  # an unreadable record that is not corrected yet
        elif reasons[_RAW] is not None:
            reasons[_RAW] = _BYTE.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", reasons[_RAW])
        line = orjson.dumps({**values, **reasons}, option=orjson.OPT_APPEND_NEWLINE)
        return line if self._is_utf8 else self._in_encoding(line)

    def _in_encoding(self, line: bytes) -> bytes:
        """The line in the input's encoding; a character that it does not have is escaped as JSON has it."""
        text = line.decode()
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError:
            text = json.dumps(orjson.loads(line), separators=(",", ":")) + "\n"
        return self._encode(text)

    def whole_lines(self, path: Path) -> Iterator[WholeLine]:
        """The lines of a file that are whole."""
        if self._is_utf8:
            return _whole_json_lines(path, "engager_row")
        return _whole_encoded_lines(path, "engager_row", self._encoding)


class RejectedCsv:
    """Rows of a CSV input that were not engaged, in the dialect of the input: corrected, they are an input.

    A record that could not be read keeps its columns empty and its text in `engager_raw`, byte by byte, also
    those that the encoding does not have: guessed columns could be taken for corrected ones.
    """

    def __init__(
        self,
        columns: Sequence[str],
        delimiter: str,
        form: TextForm,
        redact: Redact,
        suffix: str = ".csv",
    ) -> None:
        """`suffix`: of the name of the file; it gives the delimiter when the file becomes an input."""
        self.suffix = suffix
        # A rejected-rows file that is the input has the reasons of the earlier run.
        self._columns = [i for i, column in enumerate(columns) if column not in REASON_COLUMNS]
        self._raw = columns.index(_RAW) if _RAW in columns else None
        self._delimiter, self._encoding = delimiter, form.encoding
        self._redact = redact
        self._encode, mark = form.writer()
        head = [columns[i] for i in self._columns] + list(REASON_COLUMNS)
        self.head = mark + self._encode(csv_line(head, delimiter))

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

    def whole_lines(self, path: Path) -> Iterator[WholeLine]:
        """Yields the complete records of a file."""
        return _whole_csv_lines(path, "engager_row", self._delimiter, self._encoding)


def _whole_json_lines(path: Path, column: str) -> Iterator[WholeLine]:
    """The whole lines of a JSONL file in UTF-8; none of one that is gone."""
    if path.exists():
        with path.open("rb") as file:
            yield from _whole_json((line.removeprefix(codecs.BOM_UTF8) for line in file), column)


def _whole_encoded_lines(path: Path, column: str, encoding: str) -> Iterator[WholeLine]:
    """The whole lines of a JSONL file in another encoding; none of one that is gone."""
    if not path.exists():
        return
    encode = encoder_of(encoding)
    encode("")  # takes the byte order mark along
    with path.open(newline="\n", encoding=encoding, errors=KEEP_BYTES) as file:
        bare = (line.removeprefix("\ufeff").encode(errors="replace") for line in file)
        for row, fields, line in _whole_json(bare, column):
            yield row, fields, encode(line.decode())


def _whole_json(lines: Iterable[bytes], column: str) -> Iterator[WholeLine]:
    for line in lines:
        try:
            fields = orjson.loads(line)
            yield int(fields[column]), fields, line
        except (ValueError, TypeError, KeyError):
            continue


def _whole_csv_lines(path: Path, column: str, delimiter: str, encoding: str) -> Iterator[WholeLine]:
    """Yields the complete records of a CSV file after its header; nothing if the file does not exist."""
    if not path.exists():
        return
    csv.field_size_limit(_LONGEST)
    encode = encoder_of(encoding)
    encode("")  # takes the byte order mark along
    with path.open(newline="", encoding=encoding, errors=KEEP_BYTES) as file:
        records = csv.reader(file, delimiter=delimiter)
        try:
            header = [name.removeprefix("\ufeff") for name in next(records, [])]
            for record in records:
                fields = dict(zip(header, record, strict=False))
                if len(record) == len(header) and fields.get(column, "").isdecimal():
                    yield int(fields[column]), fields, encode(csv_line(record, delimiter))
        except csv.Error:
            return
