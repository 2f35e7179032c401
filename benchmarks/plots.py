"""Settings in, a picture out: engager's throughput and latency against concurrency and the answer's delay.

The figures are those of `summary.json`: without the start of the process. Each point is a whole run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import orjson

from benchmarks.clients.bodies import write_people
from benchmarks.contenders import Course, engager, wrk
from benchmarks.endpoints import Endpoint, endpoint
from benchmarks.environment import CACHE, ROOT, find
from benchmarks.measure import run
from benchmarks.table import aligned, machine

mpl.use("Agg")
from matplotlib import pyplot as plt

CONCURRENCY = [2**power for power in range(11)]
DELAYS = [0, 1, 2, 5, 10, 20, 50, 100, 200]  #: ms
FIXED_DELAYS = [0, 20]  #: ms, of the pictures against concurrency
FIXED_CONCURRENCY = [64, 1024]  #: of the pictures against delay

#: Rows a second that a run is laid out for: it only decides how long a point takes.
LAID_OUT_FOR = 20_000


@dataclass(frozen=True, slots=True)
class Point:
    """What one run showed."""

    concurrency: int
    delay: int
    rate: float
    p50: float
    p99: float


def draw(folder: Path, seconds: float, settings: Sequence[str], keep: bool) -> str:
    """Write the picture, to be kept or not; returns its points as a table."""
    asked = [(connections, delay) for delay in FIXED_DELAYS for connections in CONCURRENCY]
    asked += [(connections, delay) for connections in FIXED_CONCURRENCY for delay in DELAYS]
    with endpoint(folder, [delay for delay in DELAYS if delay]) as server:
        origins = {0: server.plain, **server.delayed}
        points = {
            (connections, delay): measured(folder, origins[delay], connections, delay, seconds, settings)
            for connections, delay in dict.fromkeys(asked)
        }
        alone = limit(folder, server)
    path = (ROOT / "benchmarks" if keep else CACHE) / "plots.svg"
    picture(points, path)
    lines = [["concurrency", "delay ms", "rows/s", "p50 ms", "p99 ms"]]
    for point in points.values():
        shown = f"{point.rate:,.0f}", f"{point.p50:.1f}", f"{point.p99:.1f}"
        lines.append([str(point.concurrency), str(point.delay), *shown])
    return "\n".join([machine(), alone, f"drawn: {path.relative_to(ROOT)}", "", *aligned(lines)])


def limit(folder: Path, server: Endpoint) -> str:
    """What the endpoint itself can do after a delay: no point near it speaks of engager."""
    if not find("wrk"):
        return "How much the endpoint can do is not known: there is no wrk here."
    connections, delay = max(CONCURRENCY), max(FIXED_DELAYS)
    course = Course(folder, server.delayed[delay], folder / "people.csv", 3 * LAID_OUT_FOR)
    before = server.answered()
    took = run(wrk(course, connections), folder)
    rate = (server.answered() - before - 1) / took.seconds
    return f"The endpoint alone, by wrk: {rate:,.0f}/s over {connections} connections after {delay} ms."


def measured(
    folder: Path, origin: str, connections: int, delay: int, seconds: float, settings: Sequence[str]
) -> Point:
    print(f"{connections} connections, {delay} ms", file=sys.stderr)
    most = connections / (delay / 1000) if delay else LAID_OUT_FOR
    rows = int(max(seconds * min(most, LAID_OUT_FOR), connections))
    people = folder / "people.csv"
    write_people(people, rows)
    run(engager(*settings, connections=connections)(Course(folder, origin, people, rows)), folder)
    summary = orjson.loads((folder / "run" / "summary.json").read_bytes())
    latency = summary["latency_ms"]
    return Point(connections, delay, rows / summary["elapsed_seconds"], latency["p50"], latency["p99"])


def picture(points: dict[tuple[int, int], Point], path: Path) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for delay in FIXED_DELAYS:
        line = [points[connections, delay] for connections in CONCURRENCY]
        lines(axes[:, 0], CONCURRENCY, line, f"answered after {delay} ms")
    for connections in FIXED_CONCURRENCY:
        line = [points[connections, delay] for delay in DELAYS]
        lines(axes[:, 1], DELAYS, line, f"concurrency {connections}")
    for column, name in ((0, "concurrency"), (1, "the answer's delay, ms")):
        axes[0, column].set(xlabel=name, ylabel="rows/s", ylim=(0, None))
        axes[1, column].set(xlabel=name, ylabel="latency, ms: p50, p99 dashed", yscale="log")
        axes[0, column].legend()
    for each in axes[:, 0]:
        each.set_xscale("log", base=2)
        each.set_xticks(CONCURRENCY, map(str, CONCURRENCY))
    for each in axes[:, 1]:
        each.set_xscale("symlog", linthresh=1)
        each.set_xticks(DELAYS, map(str, DELAYS))
        each.set_xlim(-0.2, 1.2 * max(DELAYS))
    figure.savefig(path)


def lines(column: Sequence[plt.Axes], x: Sequence[int], points: Sequence[Point], label: str) -> None:
    """Throughput above, latency below, in one colour."""
    (drawn,) = column[0].plot(x, [point.rate for point in points], marker=".", label=label)
    column[1].plot(x, [point.p50 for point in points], marker=".", color=drawn.get_color())
    column[1].plot(x, [point.p99 for point in points], marker=".", color=drawn.get_color(), linestyle="--")
