"""What the journal costs: whole runs with it, by durability, beside the same runs without it.

They share a core, all at once: whatever slows the machine then slows each of them, and the ratio stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import without
from benchmarks.clients.bodies import write_people
from benchmarks.contenders import Course, engager
from benchmarks.endpoints import endpoint
from benchmarks.measure import run, spread
from benchmarks.table import aligned, machine

VARIANTS = ("without", "process", "disk")


def cost(folder: Path, rows: int, turns: int, settings: Sequence[str]) -> str:
    write_people(folder / "people.csv", rows)
    program = str(without.engager())
    cpu: dict[str, list[float]] = defaultdict(list)
    with endpoint(folder) as server, ThreadPoolExecutor(len(VARIANTS)) as at_once:

        def taken(variant: str) -> float:
            course = Course(folder / variant, server.plain, folder / "people.csv", rows)
            course.folder.mkdir(exist_ok=True)
            return run(command(course, variant, program, settings), course.folder).cpu / rows * 1e6

        for turn in range(turns + 1):
            each = list(at_once.map(taken, VARIANTS))
            for variant, microseconds in zip(VARIANTS, each, strict=True):
                if turn:  # the first turn warms up
                    cpu[variant].append(microseconds)
    measured = f"{rows:,} rows, {turns} turns{''.join(f', {one}' for one in settings)}: medians."
    return "\n".join([measured, machine(), "", *aligned(_lines(cpu))])


def _lines(cpu: dict[str, list[float]]) -> list[list[str]]:
    lines = [["journal", "CPU µs/row", "to without", "(least–most)"]]
    for variant in VARIANTS:
        taken, bare = cpu[variant], cpu["without"]
        ratio = spread([a / b for a, b in zip(taken, bare, strict=True)])
        figures = (f"{spread(taken).median:.1f}", f"{ratio.median:.3f}")
        lines.append([variant, *figures, f"({ratio.least:.3f}–{ratio.most:.3f})"])
    return lines


def command(course: Course, variant: str, program: str, settings: Sequence[str]) -> list[str]:
    durability = "disk" if variant == "disk" else "process"
    with_ledger, *flags = engager(f"delivery.durability={durability}", *settings)(course)
    return [program if variant == "without" else with_ledger, *flags]
