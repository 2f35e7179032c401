"""The lines of a file of results as typed values, also while the run is in progress or after a crash."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engager.models import Status
from engager.reader.outcome_fields import EARLIER_COLUMNS
from engager.reader.outcome_lines import CsvLines, JsonLines

_FORMATS: dict[str, type[JsonLines | CsvLines]] = {".jsonl": JsonLines, ".csv": CsvLines}


@dataclass(frozen=True, slots=True)
class Result:
    """One line of results."""

    row: int  #: counted from 1
    key: str | None  #: the value by which the profile was matched
    status: Status
    attempts: int
    http_status: int | None
    error: int | str | None  #: the code of the endpoint, or of engager
    error_text: str | None
    request_id: str | None
    duplicate: bool  #: the endpoint marked the response as a repeat
    latency_ms: float | None
    finished_at: str  #: UTC, ISO 8601
    waited_ms: float | None
    reference: str | None = None  #: the endpoint's id of the profile, or of the task that has the row

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Result:
        """Returns the line with these fields."""
        values = {name: fields[name] for name in EARLIER_COLUMNS} | {"reference": fields.get("reference")}
        for name in ("http_status", "error"):
            if isinstance(values[name], str) and values[name].lstrip("-").isdecimal():
                values[name] = int(values[name])  # CSV has no numbers
        for name in ("key", "http_status", "error", "error_text", "request_id", "reference"):
            values[name] = None if values[name] == "" else values[name]
        return cls(**{**values, "row": int(values["row"]), "status": Status(values["status"])})


def results_of(path: Path) -> Iterator[Result]:
    """Yields the complete lines of a file of results, in the order in which rows were settled."""
    yield from (Result.from_fields(fields) for _, fields, _ in _FORMATS[path.suffix].whole_lines(path))


#: Bytes at the end of results that are read for the latest lines.
_TAIL = 1 << 22


def latest_results(path: Path) -> Iterator[Result]:
    """Yields the outcomes of the rows that were settled last, at most some thousands."""
    if not path.exists() or path.stat().st_size <= _TAIL:
        yield from results_of(path)
        return
    with path.open("rb") as file:
        head = file.readline() if path.suffix == ".csv" else b""
        file.seek(-_TAIL, os.SEEK_END)
        file.readline()  # the rest of a line that begins before
        tail = file.read()
    with tempfile.TemporaryDirectory() as folder:  # the reader of lines reads files
        copy = Path(folder) / path.name
        copy.write_bytes(head + tail)
        yield from results_of(copy)
