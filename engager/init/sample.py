"""The format and the first rows of an input, read by the reader of a run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from engager.config.encodings import mark_of
from engager.errors import InputError
from engager.models import Row, Unreadable
from engager.reader.csv_rows import DELIMITERS
from engager.reader.diagnosis import (
    NO_TEXT,
    fault_of_size,
    is_object,
    refuse_lone_title,
    refuse_other_kind,
    refuse_wrong,
)
from engager.reader.encodings import Encoding, encoding_of
from engager.reader.rows import InputSpec, open_rows
from engager.reader.sources import STDIN, Format, blocks, find_files, format_of, open_stream
from engager.requests.template import Columns

#: Number of rows in a sample.
SAMPLED = 1000

#: Number of bytes from which format and encoding are detected.
_HEAD = 1 << 20

#: Number of lines of which one must be an object of JSON, whatever the name of the file says.
_FIRST_LINES = 2

#: Number of rows by which a delimiter is chosen.
_TRIED = 200


@dataclass(frozen=True, slots=True)
class InputSample:
    """The format of an input and its first rows."""

    format: Format
    named: bool  #: the name of the file says the format
    delimiter: str | None  #: None if it is the default of the reader
    encoding: Encoding
    columns: tuple[str, ...]  #: as in the header; for JSONL every key, in the order of appearance
    rows: Sequence[Any]  #: the values of the readable rows
    unreadable: Sequence[Unreadable] = ()  #: the unreadable rows
    whole: bool = True  #: the input has no further rows

    @property
    def header(self) -> Columns:
        """The header for templates."""
        return self.columns if self.format == "csv" else None

    def values(self, column: str) -> list[Any]:
        """The values of a column, None for a row without one."""
        if self.format == "csv":
            index = self.columns.index(column)
            return [row[index] for row in self.rows]
        return [row.get(column) for row in self.rows]


def read_sample(path: str, base: Path) -> InputSample:
    """Read the beginning of an input. Raises InputError if no job can be written for it."""
    if path == STDIN:
        raise InputError(
            "stdin can be read only once, and a job reads its input again. "
            "Save the beginning of the stream as a file and name it; a run accepts --input -."
        )
    file = find_files(path, base)[0]
    head = _head(file)
    refuse_other_kind(head, str(file))
    encoding = encoding_of(head)
    if encoding is None:
        raise InputError(f"{file}: {NO_TEXT}.")
    refuse_wrong(head, str(file), encoding.name, None)
    if mark_of(head) is None and (fault := fault_of_size(file, encoding.name)):
        raise InputError(f"{file}: {fault}. Get a complete copy.")
    format_ = _format(file, head.decode(encoding.name, "replace"))
    spec = InputSpec(path, base, format_, encoding=encoding.name, on_empty="ok")
    delimiter = _delimiter(spec) if format_ == "csv" else None
    sample = _read(replace(spec, delimiter=delimiter), encoding, format_of(file) == format_)
    if format_ == "csv" and len(sample.columns) == 1:
        refuse_lone_title(head, str(file), encoding.name, DELIMITERS)
    return sample


def _head(file: Path) -> bytes:
    with open_stream(file) as stream:
        head = b""
        for block in blocks(stream, str(file), _HEAD):
            head += block
            if len(head) >= _HEAD:
                break
    if not head.strip():
        raise InputError(f"{file}: the file is empty. A job is written from a header and some rows.")
    return head


def _format(file: Path, text: str) -> Format:
    """The format by the content; otherwise by the name."""
    text, named = text.lstrip("\ufeff \t\r\n"), format_of(file)
    first = islice(filter(str.strip, io.StringIO(text, newline="")), _FIRST_LINES)
    if any(map(is_object, first)):
        return "jsonl"
    return named or ("jsonl" if text.startswith("{") else "csv")


def _delimiter(spec: InputSpec) -> str | None:
    """The delimiter by which the first records have the most of one width; None for the reader's own."""
    judged = {
        delimiter: _judged(replace(spec, delimiter=delimiter, examine=False))
        for delimiter in (None, *DELIMITERS)
    }
    best = max(judged, key=lambda delimiter: judged[delimiter])
    return best if judged[best] > judged[None] else None


def _judged(spec: InputSpec) -> tuple[bool, float, int]:
    """How well a delimiter fits: whether there are columns, the share of good rows, the columns."""
    try:
        rows = open_rows(spec)
    except InputError:
        return False, 0.0, 0
    try:
        records = list(islice((record for chunk in rows.chunks() for record in chunk), _TRIED))
    finally:
        rows.close()
    width = len(rows.columns or ())
    good = sum(isinstance(record, Row) for record in records)
    return width > 1, good / len(records) if records else 1.0, width


def _read(spec: InputSpec, encoding: Encoding, named: bool) -> InputSample:
    rows = open_rows(spec)
    try:
        records = list(islice((record for chunk in rows.chunks() for record in chunk), SAMPLED + 1))
    finally:
        rows.close()
    sampled = records[:SAMPLED]
    values = [record.values for record in sampled if isinstance(record, Row)]
    columns = rows.columns or _keys(values, sampled)
    return InputSample(
        rows.format,
        named,
        spec.delimiter,
        encoding,
        columns,
        values,
        [record for record in sampled if isinstance(record, Unreadable)],
        len(records) <= SAMPLED,
    )


def _keys(values: Sequence[Any], records: Sequence[Row | Unreadable]) -> tuple[str, ...]:
    keys: Mapping[str, None] = {key: None for row in values for key in row}
    broken = next((record for record in records if isinstance(record, Unreadable)), None)
    if not keys and broken is not None:
        raise InputError(
            f"{broken.source}, line {broken.line}: {broken.error_text}. "
            "None of the first lines is a JSON object; one row is one line."
        )
    return tuple(keys)
