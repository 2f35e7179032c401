"""The mechanism of the failure threshold: counts the rows that are not engaged, and stops the run."""

from __future__ import annotations

from collections.abc import Callable

from engager.errors import Exit
from engager.policies.failure_threshold import Failures, Threshold
from engager.sending.stop import Stop


def failure_counter(threshold: Threshold | None, stop: Stop) -> Callable[[int, str], None] | None:
    """Returns what is called for every row that is not engaged; None without a threshold."""
    if threshold is None:
        return None
    failures = Failures(threshold)

    def count(settled: int, kind: str) -> None:
        if (why := failures.add(settled, kind)) is not None:
            stop.request(Exit.STOPPED, why)

    return count
