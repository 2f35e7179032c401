"""Outcomes in, counts and percentiles out. Memory does not grow with the run."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from engager.model import Outcome, Status


class Histogram:
    """Durations in buckets that grow by 2 %: a percentile is right within 1 %, whatever its size."""

    _GROWTH = math.log(1.02)

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0

    def add(self, milliseconds: float) -> None:
        """Count one duration."""
        self._buckets[math.floor(math.log(max(milliseconds, 0.001)) / self._GROWTH)] += 1
        self.count += 1

    def percentile(self, share: float) -> float | None:
        """The duration in milliseconds that `share` (0 to 1) of all stay below; None when there is none."""
        below = 0
        for bucket in sorted(self._buckets):
            below += self._buckets[bucket]
            if below >= share * self.count:
                return round(math.exp((bucket + 0.5) * self._GROWTH), 3)
        return None

    def as_dict(self) -> dict[str, float | None]:
        """The percentiles that people quote."""
        return {f"p{share}": self.percentile(share / 100) for share in (50, 95, 99)}


class Tally:
    """The run's account."""

    def __init__(self) -> None:
        self.statuses: Counter[Status] = Counter()
        self.errors: Counter[tuple[Status, str]] = Counter()
        self.attempts = 0
        self.duplicates = 0
        self.latency = Histogram()
        self.waited = Histogram()

    @property
    def rows(self) -> int:
        """Rows that have an outcome."""
        return self.statuses.total()

    def count(self, outcome: Outcome) -> None:
        """Enter one outcome."""
        self.statuses[outcome.status] += 1
        self.attempts += outcome.attempts
        self.duplicates += outcome.duplicate
        if outcome.status is not Status.ENGAGED:
            self._count_error(outcome)
        if outcome.latency_ms is not None:
            self.latency.add(outcome.latency_ms)
        if outcome.waited_ms is not None:
            self.waited.add(outcome.waited_ms)

    def _count_error(self, outcome: Outcome) -> None:
        kind = (outcome.status, str(outcome.error))
        # Codes and words of ours are few; an endpoint that invents a code a row must not fill the memory.
        self.errors[kind if kind in self.errors or len(self.errors) < 200 else (outcome.status, "other")] += 1

    def as_dict(self) -> dict[str, Any]:
        """The account as `summary.json` has it."""
        return {
            "rows": self.rows,
            "statuses": {str(status): self.statuses[status] for status in Status},
            "errors": [
                {"status": str(status), "error": error, "rows": rows}
                for (status, error), rows in self.errors.most_common()
            ],
            "attempts": self.attempts,
            "duplicates": self.duplicates,
            "latency_ms": self.latency.as_dict(),
            "waited_ms": self.waited.as_dict(),
        }
