"""The lines of a file of results as typed values, also while the run is in progress or after a crash."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engager.models import Status
from engager.reader.outcome_fields import error_code
from engager.reader.outcome_lines import CsvLines, JsonLines

_FORMATS: dict[str, type[JsonLines | CsvLines]] = {".jsonl": JsonLines, ".csv": CsvLines}

_STATUSES = {str(status): status for status in Status}

#: Whether a line is one that is looked for, by key, status and text of the error.
Matches = Callable[[str | None, str, str | None], bool]


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
        # Written out: a file has hundreds of thousands of lines.
        return cls(
            int(fields["row"]),
            fields["key"] or None,
            _STATUSES.get(fields["status"]) or Status(fields["status"]),
            fields["attempts"],
            _number(fields["http_status"]),
            _number(fields["error"]),
            fields["error_text"] or None,
            fields["request_id"] or None,
            fields["duplicate"],
            fields["latency_ms"],
            fields["finished_at"],
            fields["waited_ms"],
            fields.get("reference") or None,
        )


def _number(value: Any) -> Any:
    """A number of a CSV file, which has texts only; None for an empty text."""
    if not isinstance(value, str):
        return value
    return error_code(value) if value else None


def results_of(path: Path, matches: Matches | None = None) -> Iterator[Result]:
    """Yields the complete lines of a file of results, in the order in which rows were settled.

    `matches`: only those that it accepts.
    """
    for _, fields, _ in _FORMATS[path.suffix].whole_lines(path):
        if matches is None or matches(fields["key"], fields["status"], fields["error_text"]):
            yield Result.from_fields(fields)


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
