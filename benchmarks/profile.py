"""Where a whole run spends its processor time: samples of its stack, by the function that was at work.

What C does, such as a system call, the parser or orjson, stands with the function that calls it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path

from benchmarks.clients.bodies import write_people
from benchmarks.contenders import Course, engager
from benchmarks.endpoints import endpoint
from benchmarks.measure import run
from benchmarks.table import aligned, machine

#: Samples a second; odd, so as not to beat with anything that happens so many times a second.
RATE = 499

#: Functions below this share are left out.
LEAST = 0.01

_FRAME = re.compile(r"(?P<name>.+) \((?P<file>[^():]+)(:\d+)?\)$")


def profile(folder: Path, rows: int, settings: Iterable[str]) -> str:
    write_people(folder / "people.csv", rows)
    with endpoint(folder) as server:
        course = Course(folder, server.plain, folder / "people.csv", rows)
        samples = folder / "samples"
        spy = [str(Path(sys.executable).parent / "py-spy"), "record", "--format", "raw", "--function"]
        spy += ["--nonblocking", "--rate", str(RATE), "--output", str(samples), "--"]
        run([*spy, *engager(*settings)(course)], folder)
        own, below = shares(samples.read_text().splitlines())
    lines = [["function", "own %", "with all that it calls %"]]
    for function, share in sorted(own.items(), key=itemgetter(1), reverse=True):
        if share >= LEAST:
            lines.append([function, f"{share * 100:.1f}", f"{below[function] * 100:.1f}"])
    return "\n".join([f"{rows:,} rows, {RATE} samples a second.", machine(), "", *aligned(lines)])


def shares(samples: Iterable[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Of stacks with their counts, every function's share: at the top, and anywhere in the stack."""
    own: Counter[str] = Counter()
    below: Counter[str] = Counter()
    for line in samples:
        stack, _, count = line.rpartition(" ")
        frames = [_function(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for function in set(frames):
            below[function] += int(count)
    every = own.total() or 1
    return _divided(own, every), _divided(below, every)


def _divided(counts: Counter[str], every: int) -> dict[str, float]:
    return {function: count / every for function, count in counts.items()}


def _function(frame: str) -> str:
    """A frame's function, with its file as far as it tells something."""
    if not (found := _FRAME.match(frame)):
        return frame
    path = found["file"].split("/")
    return f"{'/'.join(path[-2:])} {found['name']}"
