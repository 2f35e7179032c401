"""What it costs to know millions of keys: for `input.unique` and `input.exclude`."""

from __future__ import annotations

import resource
import time

from benchmarks.table import aligned, machine
from engager.requests.keys import Keys


def cost(count: int) -> str:
    keys = Keys()
    before = _peak()
    begun = time.process_time()
    for row in range(1, count + 1):
        keys.first_row(f"person.{row}@example.com", row)
    built = time.process_time() - begun
    asked = range(1, count + 1, max(1, count // 200_000))
    begun = time.process_time()
    if not all(f"person.{row}@example.com" in keys for row in asked):
        raise AssertionError("a key was forgotten")
    found = time.process_time() - begun
    lines = [
        ["keys", "µs to keep one", "µs to find one", "bytes a key", "peak MB"],
        [
            f"{count:,}",
            f"{built / count * 1e6:.2f}",
            f"{found / len(asked) * 1e6:.2f}",
            f"{(_peak() - before) / count:.0f}",
            f"{_peak() / 1e6:.0f}",
        ],
    ]
    return "\n".join([machine(), "", *aligned(lines)])


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
