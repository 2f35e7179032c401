"""The lines of a results file. A line that a crash tore is omitted and reported.

The file may grow meanwhile: lines that are appended after opening are not read.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from engager.reader.outcome_lines import CsvLines, JsonLines
from engager.store.run_directory import RunDirectory


class ResultLines:
    """The results of a run, line by line; `torn` and `damaged` are known at the end."""

    def __init__(self, run: RunDirectory) -> None:
        self._is_csv = run.identity["output"]["results"] == "csv"
        self.path = run.path / (CsvLines if self._is_csv else JsonLines).name
        self.torn = False  #: the last line is incomplete
        self.damaged = 0  #: lines that engager did not write
        self._columns = run.columns

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        if not self.path.exists():
            return iter(())
        return self._of_csv() if self._is_csv else self._of_jsonl()

    def _of_jsonl(self) -> Iterator[Mapping[str, Any]]:
        with self.path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size
            for line in file:
                left -= len(line)
                if left < 0 or not line.endswith(b"\n"):
                    self.torn = True
                    return
                try:
                    yield orjson.loads(line)
                except ValueError:
                    self.damaged += 1
                if not left:
                    return

    def _of_csv(self) -> Iterator[Mapping[str, Any]]:
        for record, is_torn in self._records():
            if is_torn:
                self.torn = True
                return
            try:
                yield _typed(dict(zip(self._columns, record, strict=True)))
            except ValueError:
                self.damaged += 1

    def _records(self) -> Iterator[tuple[list[str], bool]]:
        """The records after the header, each with whether it is incomplete, as the last one can be."""
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            records = csv.reader(_whole_lines(file, ended := [True]))
            next(records, None)
            before: list[str] | None = None
            for record in records:
                if before is not None:
                    yield before, False
                before = record
            if before is not None:
                yield before, not ended[0] or len(before) < len(self._columns)


def _whole_lines(file: Any, ended: list[bool]) -> Iterator[str]:
    """The lines of a file; `ended` says whether the last line was complete."""
    for line in file:
        ended[0] = line.endswith("\n")
        yield line


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    """Convert the fields of a record to their types. Raises ValueError."""
    for name in ("latency_ms", "waited_ms"):
        fields[name] = float(fields[name]) if fields[name] else None
    fields["attempts"] = int(fields["attempts"])
    fields["duplicate"] = fields["duplicate"] == "true"
    return fields
