"""The plots of a report, from its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import log

from markupsafe import Markup

from engager.models import Status
from engager.output.report import svg
from engager.output.report.figures import Cell, Figures
from engager.output.report.svg import Span, Tick
from engager.output.report.text import duration, milliseconds, number, word
from engager.output.report.timeline import Timeline
from engager.output.text import share
from engager.store.tally import Histogram

STATUSES = tuple(map(str, Status))
SHARES = (50, 95, 99)

#: Maximum number of columns of a plot: more cannot be distinguished on a phone.
COLUMNS = 240

#: Batches in a column on average, at least, unless there are few columns: the rows of a batch are settled at
#: once, and columns with one batch or none look like a comb.
BATCHES, FEW_COLUMNS = 8, 40
_BINS = 60


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing with its axes and texts."""

    name: str
    title: str
    summary: str  #: what it shows, as a sentence
    unit: str  #: of the vertical axis
    y_axis: Markup
    plot_area: Markup
    x_axis: Markup
    legend: Sequence[tuple[str, str]] = ()  #: class and label of each series


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of a histogram."""

    begin: float  #: milliseconds
    end: float
    requests: int


class OverTime:
    """Plots over time."""

    def __init__(self, figures: Figures) -> None:
        while _timeline(figures).lasting / figures.width > _most_columns(figures):
            figures.widen()
        self.width = figures.width
        self.timeline = _timeline(figures)
        self._cells = sorted(figures.cells.items())

    @cached_property
    def rows(self) -> list[tuple[str, Cell]]:
        """The start of each cell as text, and the cell."""
        days = self._cells[-1][0] * self.width - self._cells[0][0] * self.width > 86_400
        form = "%Y-%m-%d %H:%M:%S" if days else "%H:%M:%S"
        return [(_moment(index * self.width, form, self.width), cell) for index, cell in self._cells]

    @property
    def cut(self) -> list[str]:
        """The durations that the axis omits."""
        return [duration(seconds) for _, seconds in self.timeline.cuts()]

    def throughput(self) -> Plot:
        """Rows per second, by status."""
        rates = [[cell.statuses[s] / self.width for s in STATUSES] for _, cell in self._cells]
        top, step = svg.round_ceiling(max(map(sum, rates)))
        stacks = [[rate / top for rate in of_cell] for of_cell in rates]
        text = f"Settled rows per second, by status, in steps of {duration(self.width)}."
        return self._stacked("throughput", "Throughput", text, "rows/s", stacks, _even(top, step))

    def shares(self) -> Plot:
        """The share of each status."""
        stacks = [[cell.statuses[s] / cell.rows for s in STATUSES] for _, cell in self._cells]
        ticks = [Tick(n / 4, f"{n * 25} %") for n in range(5)]
        text = "Share of each status in the rows that were settled at that time."
        return self._stacked("shares", "Statuses", text, "share of rows", stacks, ticks)

    def in_flight(self) -> Plot:
        """The most requests in flight."""
        top, step = svg.round_ceiling(max(cell.in_flight for _, cell in self._cells))
        spans = self._spans(lambda cell: f"{number(cell.in_flight)} in flight")
        line = svg.line("in-flight", spans, [cell.in_flight / top for _, cell in self._cells])
        text = f"Most requests in flight, in steps of {duration(self.width)}."
        ticks = _even(top, step) if step >= 1 else [Tick(0, "0"), Tick(1, number(top))]
        return self._plot("in-flight", "In flight", text, "requests", ticks, [line, svg.hits(spans)], ())

    def percentiles(self, name: str, title: str, summary: str, of: Callable[[Cell], Histogram]) -> Plot:
        """Percentiles on a logarithmic axis."""
        found = [[of(cell).percentile(p / 100) for p in SHARES] for _, cell in self._cells]
        known = [value for values in found for value in values if value is not None]
        low, high = svg.around(min(known, default=1.0), max(known, default=1000.0))
        ticks = [Tick(_at(v, low, high), milliseconds(v)) for v in svg.log_ticks(low, high)]
        spans = self._spans(lambda cell: _quoted(of(cell)))
        lines = [
            svg.line(f"p{p}", spans, [None if v[i] is None else _at(v[i], low, high) for v in found])
            for i, p in enumerate(SHARES)
        ]
        legend = [(f"p{p}", f"p{p}") for p in SHARES]
        return self._plot(name, title, summary, "log scale", ticks, [*lines, svg.hits(spans)], legend)

    def _stacked(
        self, name: str, title: str, summary: str, unit: str, stacks: list[list[float]], ticks: list[Tick]
    ) -> Plot:
        spans = self._spans(lambda cell: _counted(cell, self.width))
        bottoms = [0.0] * len(stacks)
        parts, legend = [], []
        for index, status in enumerate(STATUSES):
            tops = [bottom + stack[index] for bottom, stack in zip(bottoms, stacks, strict=True)]
            if tops != bottoms:
                parts.append(svg.columns(f"fill {status}", spans, bottoms, tops))
                legend.append((status, word(status)))
            bottoms = tops
        return self._plot(name, title, summary, unit, ticks, [*parts, svg.hits(spans)], legend)

    def _plot(
        self,
        name: str,
        title: str,
        summary: str,
        unit: str,
        ticks: list[Tick],
        parts: list[Markup],
        legend: Sequence[tuple[str, str]],
    ) -> Plot:
        cuts = svg.marks("cut", [place for place, _ in self.timeline.cuts()])
        x_axis = svg.x_axis(Tick(*tick) for tick in self.timeline.ticks())
        plot_area = svg.plot_area(name, svg.rules(ticks), cuts, *parts)
        return Plot(name, title, summary, unit, svg.y_axis(ticks), plot_area, x_axis, legend)

    def _spans(self, text: Callable[[Cell], str]) -> list[Span]:
        place, width = self.timeline.place, self.width
        return [
            Span(place(index * width), place((index + 1) * width), f"{moment}: {text(cell)}")
            for (index, cell), (moment, _) in zip(self._cells, self.rows, strict=True)
        ]


def _most_columns(figures: Figures) -> float:
    """Columns of a plot, at most."""
    whole = figures.whole
    has_batches = 0 < whole.requests < whole.rows - whole.statuses["invalid"] - whole.statuses["skipped"]
    return min(COLUMNS, max(FEW_COLUMNS, whole.requests / BATCHES)) if has_batches else COLUMNS


def _timeline(figures: Figures) -> Timeline:
    return Timeline.from_cells([index * figures.width for index in sorted(figures.cells)], figures.width)


def _moment(seconds: float, form: str, width: float) -> str:
    then = datetime.fromtimestamp(seconds, UTC).strftime(form)
    return f"{then}.{round(seconds % 1 * 10)}" if width < 1 else then


def _counted(cell: Cell, width: float) -> str:
    parts = [f"{number(rows)} {word(status)}" for status, rows in cell.statuses.items() if rows]
    return f"{number(cell.rows / width)} rows/s; {', '.join(parts)}"


def _quoted(histogram: Histogram) -> str:
    found = [(p, histogram.percentile(p / 100)) for p in SHARES]
    texts = [f"p{p} {milliseconds(value)}" for p, value in found if value is not None]
    return f"{', '.join(texts)} ({number(histogram.count)} requests)" if texts else "no measurement"


def _even(top: float, step: float) -> list[Tick]:
    return [Tick(n * step / top, number(n * step)) for n in range(round(top / step) + 1)]


def _at(value: float | None, low: float, high: float) -> float:
    return log((value or low) / low) / log(high / low)


def bins(histogram: Histogram) -> list[Bin]:
    """The bins of a histogram, empty ones between others included."""
    if not histogram.count:
        return []
    first, last = min(histogram.buckets), max(histogram.buckets)
    wide = (last - first) // _BINS + 1
    counts = [0] * ((last - first) // wide + 1)
    for bucket, requests in histogram.buckets.items():
        counts[(bucket - first) // wide] += requests
    edges = [Histogram.edge(first + wide * index) for index in range(len(counts) + 1)]
    return [Bin(edges[i], edges[i + 1], requests) for i, requests in enumerate(counts)]


def distribution(name: str, title: str, summary: str, histogram: Histogram) -> Plot:
    """The distribution of a histogram on a logarithmic axis."""
    found = bins(histogram)
    low, high = (found[0].begin, found[-1].end) if found else (1.0, 1000.0)
    spans = [Span(_at(b.begin, low, high), _at(b.end, low, high), _of_bin(b, histogram)) for b in found]
    top, step = svg.round_ceiling(max((b.requests for b in found), default=0))
    ticks = _even(top, step) if step >= 1 else [Tick(0, "0"), Tick(1, number(top))]
    columns = svg.columns(f"fill {name}", spans, [0.0] * len(found), [b.requests / top for b in found])
    x_axis = svg.x_axis(Tick(_at(v, low, high), milliseconds(v)) for v in svg.log_ticks(low, high))
    plot_area = svg.plot_area(name, svg.rules(ticks), columns, svg.hits(spans))
    return Plot(name, title, summary, "requests", svg.y_axis(ticks), plot_area, x_axis)


def _of_bin(found: Bin, histogram: Histogram) -> str:
    edges = f"{milliseconds(found.begin)} to {milliseconds(found.end)}"
    return f"{edges}: {number(found.requests)} requests, {share(found.requests, histogram.count)}"
