"""What the ledger costs: whole runs with it, by durability, beside the same runs without it, in turn."""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from pathlib import Path

from benchmarks import without
from benchmarks.clients.bodies import write_people
from benchmarks.contenders import Course, engager, interpreted
from benchmarks.endpoints import endpoint
from benchmarks.environment import ROOT
from benchmarks.measure import run, spread
from benchmarks.table import aligned, machine

BUILDS = ("compiled", "pure")
VARIANTS = ("without", "process", "disk")


def cost(folder: Path, rows: int, turns: int) -> str:
    write_people(folder / "people.csv", rows)
    program = str(without.engager())
    cpu: dict[tuple[str, str], list[float]] = defaultdict(list)
    with endpoint(folder) as server:
        course = Course(folder, server.plain, folder / "people.csv", rows)
        for turn in range(turns + 1):
            for build, variant in product(BUILDS, VARIANTS):
                took = run(command(course, build, variant, program), folder).cpu
                if turn:  # the first turn warms up
                    cpu[build, variant].append(took / rows * 1e6)
    lines = [["engager", "ledger", "CPU µs/row", "to without", "(least–most)"]]
    for build, variant in product(BUILDS, VARIANTS):
        taken, bare = cpu[build, variant], cpu[build, "without"]
        ratio = spread([a / b for a, b in zip(taken, bare, strict=True)])
        figures = (f"{spread(taken).median:.1f}", f"{ratio.median:.3f}")
        lines.append([build, variant, *figures, f"({ratio.least:.3f}–{ratio.most:.3f})"])
    return "\n".join([f"{rows:,} rows, {turns} turns: medians.", machine(), "", *aligned(lines)])


def command(course: Course, build: str, variant: str, program: str) -> list[str]:
    durability = "disk" if variant == "disk" else "process"
    with_ledger, *flags = engager(f"delivery.durability={durability}")(course)
    whole = [program if variant == "without" else with_ledger, *flags]
    if build == "compiled":
        return whole
    return interpreted(whole, without.SOURCES if variant == "without" else ROOT)
