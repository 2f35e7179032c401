"""The name of an input in, how it is written and its first rows out. Read by the very reader of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from engager.errors import InputError
from engager.models import Row, Unreadable
from engager.reader.diagnosis import refuse_other_kind, refuse_wrong
from engager.reader.encodings import Encoding, encoding_of
from engager.reader.rows import InputSpec, open_rows
from engager.reader.sources import STDIN, Format, blocks, find_files, format_of, open_stream
from engager.requests.template import Columns

#: Rows that are looked at.
SAMPLED = 1000

#: Bytes in which format and encoding show.
_HEAD = 1 << 20

#: Rows by which a delimiter is judged, and the delimiters, the more common first.
_TRIED = 200
_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class InputSample:
    """How an input is written, and its first rows."""

    format: Format
    named: bool  #: the file's name tells the format
    delimiter: str | None  #: None where it is the one that the reader takes by itself
    encoding: Encoding
    columns: tuple[str, ...]  #: as in the header; of JSONL, every key in the order of its first coming
    rows: Sequence[Any]  #: the values of the rows that could be read
    unreadable: Sequence[Unreadable] = ()  #: those that could not
    whole: bool = True  #: the input has no further rows

    @property
    def header(self) -> Columns:
        """What templates are compiled against."""
        return self.columns if self.format == "csv" else None

    def values(self, column: str) -> list[Any]:
        """A column's values, None where a row has none."""
        if self.format == "csv":
            index = self.columns.index(column)
            return [row[index] for row in self.rows]
        return [row.get(column) for row in self.rows]


def take_sample(path: str, base: Path) -> InputSample:
    """Look at the beginning of an input. Raises InputError where no job could be made for it."""
    if path == STDIN:
        raise InputError(
            "stdin can be read once only, and a job needs its input again. "
            "Save the beginning of the stream as a file, and name that; a run can take --input -."
        )
    file = find_files(path, base)[0]
    head = _head(file)
    refuse_other_kind(head, str(file))
    encoding = encoding_of(head)
    if encoding is None:
        raise InputError(f"{file}: it is no text.")
    refuse_wrong(head, str(file), encoding.name, None)
    format_ = _format(file, head.decode(encoding.name, "replace"))
    spec = InputSpec(path, base, format_, encoding=encoding.name)
    delimiter = _delimiter(spec) if format_ == "csv" else None
    return _read(replace(spec, delimiter=delimiter), encoding, format_of(file) == format_)


def _head(file: Path) -> bytes:
    with open_stream(file) as stream:
        head = b""
        for block in blocks(stream, str(file), _HEAD):
            head += block
            if len(head) >= _HEAD:
                break
    if not head.strip():
        raise InputError(f"{file}: the file is empty. A job is guessed from a header and some rows.")
    return head


def _format(file: Path, text: str) -> Format:
    """What the content is; where it does not show, what the name says."""
    text, named = text.lstrip("\ufeff \t\r\n"), format_of(file)
    if _is_object(text.partition("\n")[0]):
        return "jsonl"
    return named or ("jsonl" if text.startswith("{") else "csv")


def _is_object(line: str) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _delimiter(spec: InputSpec) -> str | None:
    """The delimiter by which the first records have the most of one width; None for the reader's own."""
    judged = {
        delimiter: _judged(replace(spec, delimiter=delimiter, examine=False))
        for delimiter in (None, *_DELIMITERS)
    }
    best = max(judged, key=lambda delimiter: judged[delimiter])
    return best if judged[best] > judged[None] else None


def _judged(spec: InputSpec) -> tuple[bool, float, int]:
    """How well an input can be read so: whether in columns, the share of good rows, the columns."""
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
