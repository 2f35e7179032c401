"""A file of results in, the fields of its whole lines out; what a crash tore is left out, and said so.

Also while somebody appends to it: what comes later than the first look is left for another time.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from engager.reader.outcome_fields import RESULT_COLUMNS
from engager.reader.outcome_lines import CsvLines, JsonLines
from engager.store.run_directory import RunDirectory


class ResultLines:
    """The results of a run, line by line; how many could not be read is known when they end."""

    def __init__(self, run: RunDirectory) -> None:
        self._is_csv = run.identity["output"]["results"] == "csv"
        self.path = run.path / (CsvLines if self._is_csv else JsonLines).name
        self.torn = False  #: the last line has no end
        self.damaged = 0  #: lines that are not what engager writes

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
                yield _typed(record)
            except ValueError:
                self.damaged += 1

    def _records(self) -> Iterator[tuple[list[str], bool]]:
        """The records behind the header, each with whether it has no end, which only the last can lack."""
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            records = csv.reader(_whole_lines(file, ended := [True]))
            next(records, None)
            before: list[str] | None = None
            for record in records:
                if before is not None:
                    yield before, False
                before = record
            if before is not None:
                yield before, not ended[0] or len(before) < len(RESULT_COLUMNS)


def _whole_lines(file: Any, ended: list[bool]) -> Iterator[str]:
    """The lines of a file; `ended` tells whether the last one given had its end."""
    for line in file:
        ended[0] = line.endswith("\n")
        yield line


def _typed(record: list[str]) -> dict[str, Any]:
    """A record's fields in their types again. Raises ValueError."""
    fields: dict[str, Any] = dict(zip(RESULT_COLUMNS, record, strict=True))
    for name in ("latency_ms", "waited_ms"):
        fields[name] = float(fields[name]) if fields[name] else None
    fields["attempts"] = int(fields["attempts"])
    fields["duplicate"] = fields["duplicate"] == "true"
    return fields
