"""A time axis that omits long times without outcomes, such as those between a stop and a resume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import ceil

#: A time without outcomes is cut if it is longer than this, and than half of the rest.
LEAST_CUT = 60.0

_MOST_CUTS = 6

#: Width of a cut as a share of the axis.
_CUT = 0.02

_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAY = 86_400
_TICKS = 6


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the axis with a linear scale."""

    begin: float  #: seconds since the epoch
    end: float
    left: float  #: its place on the axis, 0 to 1
    right: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """A time axis."""

    stretches: tuple[Stretch, ...]

    @classmethod
    def from_cells(cls, begins: Sequence[float], width: float) -> Timeline:
        """The axis for cells with these beginnings, in ascending order, and this width in seconds."""
        bounds = _bounds(begins, width)
        lasting = sum(end - begin for begin, end in bounds)
        scale = (1 - _CUT * (len(bounds) - 1)) / lasting
        stretches, left = [], 0.0
        for begin, end in bounds:
            right = left + (end - begin) * scale
            stretches.append(Stretch(begin, end, left, right))
            left = right + _CUT
        return cls(tuple(stretches))

    @property
    def lasting(self) -> float:
        """Seconds that the axis shows."""
        return sum(stretch.end - stretch.begin for stretch in self.stretches)

    def place(self, moment: float) -> float:
        """The place of a moment on the axis, 0 to 1."""
        on = next((s for s in reversed(self.stretches) if s.begin <= moment), self.stretches[0])
        passed = (moment - on.begin) / (on.end - on.begin)
        return on.left + min(max(passed, 0.0), 1.0) * (on.right - on.left)

    def cuts(self) -> Iterator[tuple[float, float]]:
        """The place and the length in seconds of each cut."""
        for before, after in pairwise(self.stretches):
            yield before.right + _CUT / 2, after.begin - before.end

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Places with round times, and their labels."""
        step = _step(self.lasting)
        days = self.stretches[-1].end - self.stretches[0].begin > _DAY
        for stretch in self.stretches:
            for index in range(ceil(stretch.begin / step), int(stretch.end / step) + 1):
                yield self.place(index * step), _called(index * step, step, days)


def _bounds(begins: Sequence[float], width: float) -> list[tuple[float, float]]:
    gaps = [(after - before - width, index) for index, (before, after) in enumerate(pairwise(begins))]
    lasting, cuts = begins[-1] + width - begins[0], []
    for gap, index in sorted(gaps, reverse=True)[:_MOST_CUTS]:
        if gap <= LEAST_CUT or gap <= (lasting - gap) / 2:
            break
        lasting -= gap
        cuts.append(index)
    firsts = [0, *(index + 1 for index in sorted(cuts))]
    lasts = [*sorted(cuts), len(begins) - 1]
    return [(begins[first], begins[last] + width) for first, last in zip(firsts, lasts, strict=True)]


def _step(lasting: float) -> float:
    found = next((step for step in _STEPS if lasting / step <= _TICKS), None)
    return found or _DAY * ceil(lasting / _DAY / _TICKS)


def _called(moment: float, step: float, days: bool) -> str:
    then = datetime.fromtimestamp(moment, UTC)
    if step >= _DAY:
        return f"{then:%d %b}"
    clock = f"{then:%H:%M}" if step >= 60 else f"{then:%H:%M:%S}"
    if step < 1:
        clock += f".{then.microsecond // 100_000}"
    return f"{then:%d %b} {clock}" if days else clock
