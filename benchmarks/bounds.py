"""Whole runs of engager alone: memory at two lengths of input; imports one by one and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.clients.bodies import write_people
from benchmarks.contenders import Course, engager
from benchmarks.endpoints import BATCH, endpoint
from benchmarks.measure import Usage, run
from benchmarks.table import aligned, machine

DATA = """
data = { email = "{email}", _fname = "{first_name}", subscriptions = [
    { channel = "email", email = "{email}", resource_id = 24 } ] }
"""
IMPORT = """
[request]
method = "%s"
workflow_id = 12
matching = "email"
email = "{email}"
skip_triggers = true
"""

#: The name, the method, its table, and the requests in flight.
FORMS = (
    ("one by one", "import_and_start", "", 64),
    (f"batches of {BATCH}", "import_and_start_batch", f"[batch]\nrows = {BATCH}", 8),
)


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


def imports(folder: Path, rows: int, turns: int, settings: Sequence[str]) -> str:
    rows -= rows % BATCH  # nginx answers every batch with as many entries
    write_people(folder / "people.csv", rows)
    took: dict[tuple[str, str], list[Usage]] = {}
    with endpoint(folder) as server:
        course = Course(folder, server.plain, folder / "people.csv", rows)
        for _ in range(turns):
            for data in (DATA, ""):
                for name, method, batch, concurrency in FORMS:
                    request = IMPORT % method + data + batch
                    command = engager(*settings, connections=concurrency, request=request)(course)
                    took.setdefault((name, "with data" if data else "no data"), []).append(
                        run(command, folder)
                    )
    lines = [["requests", "people", "people/s", "CPU µs/person", "peak MB"]]
    for (name, data), usages in took.items():
        best = min(usages, key=lambda usage: usage.cpu)
        figures = (rows / best.seconds, best.cpu / rows * 1e6, max(usage.peak for usage in usages))
        lines.append([name, data, *(f"{figure:,.1f}" for figure in figures)])
    head = f"{rows:,} people, {turns} turns in rotation: the turn with the least CPU time."
    return "\n".join([head, machine(), "", *aligned(lines)])
