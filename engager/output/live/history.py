"""Snapshots in, the course of a run so far out: a bounded number of points, however long it takes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engager.events import Snapshot

#: Points that are kept; twice as many are merged by twos.
POINTS = 400


class History:
    """The course of a run."""

    def __init__(self) -> None:
        self.points: list[dict[str, Any]] = []
        self._every = 0.0  #: seconds that a point stands for

    def add(self, now: Snapshot) -> None:
        """Take a snapshot in."""
        if self.points and now.elapsed_seconds - self.points[-1]["t"] < self._every:
            return
        self.points.append(point_of(now))
        if len(self.points) >= 2 * POINTS:
            self.points = self.points[1::2]
            self._every = (self.points[-1]["t"] - self.points[0]["t"]) / len(self.points)


def point_of(now: Snapshot) -> dict[str, Any]:
    """What the charts need of a snapshot. Counts are totals: of two points the later one holds both."""
    late = now.recent_latency_ms
    return {
        "t": round(now.elapsed_seconds, 2),
        "statuses": dict(now.statuses),
        "p50": late["p50"],
        "p95": late["p95"],
        "p99": late["p99"],
        "in_flight": now.in_flight,
    }


def as_message(now: Snapshot) -> dict[str, Any]:
    """A snapshot as the page is told of it."""
    return {**asdict(now), "point": point_of(now)}
