"""What engager promises to keep within: memory at two lengths of input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.clients.bodies import write_people
from benchmarks.contenders import Course, engager
from benchmarks.endpoints import endpoint
from benchmarks.measure import run
from benchmarks.table import aligned, machine


def memory(folder: Path, lengths: Sequence[int], settings: Sequence[str]) -> str:
    lines = [["rows", "peak MB", "CPU µs/row", "rows/s"]]
    with endpoint(folder) as server:
        for rows in lengths:
            write_people(folder / "people.csv", rows)
            course = Course(folder, server.plain, folder / "people.csv", rows)
            took = run(engager(*settings)(course), folder)
            figures = (took.peak, took.cpu / rows * 1e6, rows / took.seconds)
            lines.append([f"{rows:,}", *(f"{figure:,.1f}" for figure in figures)])
    return "\n".join([machine(), "", *aligned(lines)])
