"""What engager promises to keep within: memory at two lengths of input, and the rate at the endpoint."""

from __future__ import annotations

import time
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


def pace(folder: Path, rate: float, seconds: float, settings: Sequence[str]) -> str:
    """A while at this rate; nginx writes down when it answered each request."""
    rows, seen = int(rate * seconds), folder / "moments"
    write_people(folder / "people.csv", rows)
    with endpoint(folder, log=seen) as server:
        course = Course(folder, server.plain, folder / "people.csv", rows)
        run(engager(*settings, f"limits.rate={rate}")(course), folder, _processes(settings))
    times = sorted(map(float, seen.read_text().split()))
    average = (len(times) - 1) / (times[-1] - times[0])
    worst = fullest_second(times)
    told = (
        f"rate {rate:g}: {len(times):,} requests, {average:.1f}/s on average, {worst} in the fullest second"
    )
    lost = f"this machine keeps {stalls():.0%} of the time from a process that only looks at the clock"
    return f"{machine()}\n\n{told}\n{lost}"


def _processes(settings: Sequence[str]) -> int:
    asked = [setting.partition("=") for setting in settings]
    return next((int(value) for key, _, value in asked if key == "limits.processes"), 1)


def fullest_second(times: Sequence[float]) -> int:
    """The most of these moments that any second holds."""
    first = worst = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - 1:
            first += 1
        worst = max(worst, last - first + 1)
    return worst


def stalls() -> float:
    """How much of two seconds this machine keeps from a process that never waits."""
    begun = last = time.monotonic()
    lost = 0.0
    while last < begun + 2:
        now = time.monotonic()
        lost += now - last if now - last > 0.002 else 0
        last = now
    return lost / (last - begun)
