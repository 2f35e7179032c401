"""The failure threshold: how many rows may fail before the run is stopped. Pure, without clock."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Threshold:
    """How many rows may be not engaged: a number, or a share, which is judged over two ranges."""

    rows: int | None = None  #: this number stops the run
    share: float | None = None  #: this share of all rows, or of the last `window` rows, stops the run
    window: int = 1000  #: rows
    least: int = 100  #: rows that must be settled before the share is judged

    def __str__(self) -> str:
        return f"{self.share * 100:g}%" if self.share is not None else str(self.rows)


class Failures:
    """Counts the rows that were not engaged against a threshold. Engaged rows cost nothing."""

    def __init__(self, threshold: Threshold) -> None:
        self._threshold = threshold
        self._positions: deque[int] = deque()  #: in the order of settling, within the window
        self._count = 0
        self._kinds: Counter[str] = Counter()

    def add(self, settled: int, kind: str) -> str | None:
        """The `settled`-th row of this start was not engaged; returns why the run stops, or None."""
        self._count += 1
        self._kinds[kind if kind in self._kinds or len(self._kinds) < 200 else "other"] += 1
        rule = self._threshold
        if rule.rows is not None:
            return self._why(f"{self._count:,} rows") if self._count >= rule.rows else None
        self._positions.append(settled)
        while self._positions[0] <= settled - rule.window:
            self._positions.popleft()
        return self._exceeded(settled)

    def _exceeded(self, settled: int) -> str | None:
        rule = self._threshold
        recent = min(settled, rule.window)
        if settled < rule.least or rule.share is None:
            return None
        if self._count >= rule.share * settled:
            return self._why(f"{self._count:,} of {settled:,} rows")
        if recent >= rule.window and len(self._positions) >= rule.share * recent:
            return self._why(f"{len(self._positions):,} of the last {recent:,} rows")
        return None

    def _why(self, figures: str) -> str:
        kind, rows = self._kinds.most_common(1)[0]
        return (
            f"stop.max_failed = {self._threshold}: {figures} were not engaged, most often {kind} ({rows:,}); "
            "the next start counts from zero"
        )
