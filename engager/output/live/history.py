"""The course of a run in cells of time, drawn as the charts of the live page. Memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from math import floor

from engager.events import Snapshot
from engager.output.report.figures import Cell, Figures
from engager.output.report.plots import OverTime
from engager.output.report.templates import templates
from engager.store.tally import Histogram

#: Width of the first cells in tenths of a second: several snapshots are in each.
_SECOND = 10

#: Maximum number of cells: they are drawn again and again beside the run.
MAX_CELLS = 120


class History:
    """The cells of a run. A cell is drawn when it is over: an unfinished one looks like a lower rate."""

    def __init__(self, began: float) -> None:
        """Begin at a moment in seconds since the epoch, from which snapshots count."""
        self._began = began
        self._figures = Figures(_SECOND)
        self._at: float | None = None  #: moment of the latest snapshot
        self._statuses: dict[str, int] = {}
        self._latency = Histogram()

    @property
    def finished(self) -> int:
        """Number that grows whenever a cell is over."""
        return floor((self._at or 0.0) / self._figures.width)

    def add(self, now: Snapshot, latency: Histogram) -> None:
        """Add a snapshot, and the latencies of all requests by then."""
        moment, before = self._began + now.elapsed_seconds, self._at
        if before is not None and moment <= before:
            return
        if before is not None:
            self._fill(before, moment, now, latency.since(self._latency))
        self._at, self._statuses, self._latency = moment, dict(now.statuses), latency

    def _fill(self, begin: float, end: float, now: Snapshot, latency: Histogram) -> None:
        """Divide the rows since the previous snapshot among the cells that they may be of.

        Latencies are entered in each of these cells: only percentiles are drawn of them.
        """
        first = min(self._figures.cells, default=floor(begin / self._figures.width)) * self._figures.width
        while (end - first) / self._figures.width >= MAX_CELLS:
            self._figures.widen()
        indices, shares = zip(*self._overlaps(begin, end), strict=True)
        for index in indices:
            cell = self._cell(index)
            cell.in_flight = max(cell.in_flight, now.in_flight)
            cell.latency.merge(latency)
        for status, rows in now.statuses.items():
            counts = _divided(rows - self._statuses.get(status, 0), shares)
            for index, count in zip(indices, counts, strict=True):
                self._cell(index).statuses[status] += count

    def _overlaps(self, begin: float, end: float) -> Iterator[tuple[int, float]]:
        """The cells of an interval, and the share of it in each."""
        width = self._figures.width
        for index in range(floor(begin / width), floor(end / width) + 1):
            yield index, (min(end, (index + 1) * width) - max(begin, index * width)) / (end - begin)

    def _cell(self, index: int) -> Cell:
        return self._figures.cells.setdefault(index, Cell())

    def past(self) -> Figures:
        """The cells that are over. They do not change any more, so that a thread can draw them."""
        past = Figures(round(self._figures.width * 10))
        past.cells = {index: cell for index, cell in self._figures.cells.items() if index < self.finished}
        return past


def charts(past: Figures) -> str:
    """The charts as HTML; empty without a cell."""
    if not past.cells:
        return ""
    time = OverTime(past)
    about = "Last attempts of requests, from when they were due to their responses; UTC."
    plots = [
        time.throughput(),
        time.percentiles("latency-time", "Latency", about, lambda cell: cell.latency),
        time.in_flight(),
    ]
    return templates().get_template("charts.html").render(plots=plots)


def _divided(count: int, shares: tuple[float, ...]) -> list[int]:
    """Divide a count in these shares of 1, so that the parts add up to it."""
    edges = [round(count * share) for share in accumulate(shares)]
    return [after - before for before, after in pairwise([0, *edges])]
