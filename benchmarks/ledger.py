"""What the ledger costs: whole runs with it, by durability, beside the same runs without it, in turn."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from benchmarks.clients.bodies import write_people
from benchmarks.contenders import Course, engager, interpreted
from benchmarks.endpoints import endpoint
from benchmarks.measure import run, spread
from benchmarks.table import aligned, machine

VARIANTS = ("without", "process", "disk")


def cost(folder: Path, rows: int, turns: int) -> str:
    write_people(folder / "people.csv", rows)
    cpu: dict[str, list[float]] = defaultdict(list)
    with endpoint(folder) as server:
        course = Course(folder, server.plain, folder / "people.csv", rows)
        for turn in range(turns + 1):
            for variant in VARIANTS:
                took = run(command(course, variant), folder).cpu
                if turn:  # the first turn warms up
                    cpu[variant].append(took / rows * 1e6)
    lines = [["ledger", "CPU µs/row", "to without", "(least–most)"]]
    for variant in VARIANTS:
        ratio = spread([a / b for a, b in zip(cpu[variant], cpu["without"], strict=True)])
        figures = (f"{spread(cpu[variant]).median:.1f}", f"{ratio.median:.3f}")
        lines.append([variant, *figures, f"({ratio.least:.3f}–{ratio.most:.3f})"])
    return "\n".join([f"{rows:,} rows, {turns} turns: medians.", machine(), "", *aligned(lines)])


def command(course: Course, variant: str) -> list[str]:
    """A run on the sources: nothing can be taken out of what is compiled."""
    if variant == "disk":
        return interpreted(engager("delivery.durability=disk")(course))
    program, *flags = engager()(course)
    without = [sys.executable, "-m", "benchmarks.clients.without_ledger"]
    return interpreted([*(without if variant == "without" else [program]), *flags])
