"""Drawings as SVG that fits any width: columns, lines, and their axes.

The plot area is 1000 units wide and is stretched to the available width. Text must not be stretched, so it is
outside of the plot area, at percentages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup

HEIGHT = 200
WIDTH = 1000

#: Approximate width of a character as a share of the axis, on a wide screen and on a phone.
_CHARACTER, _CHARACTER_NARROW = 7 / 430, 7 / 215


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at a place of an axis, 0 to 1."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Span:
    """An interval of the horizontal axis, 0 to 1, and the text that is read out there."""

    left: float
    right: float
    text: str


def _x(place: float) -> str:
    return f"{place * WIDTH:.2f}".rstrip("0").rstrip(".")


def _y(share: float) -> str:
    return f"{HEIGHT - min(max(share, 0.0), 1.0) * HEIGHT:.2f}".rstrip("0").rstrip(".")


def columns(look: str, spans: Sequence[Span], bottoms: Sequence[float], tops: Sequence[float]) -> Markup:
    """Stacked columns; heights are shares of the whole height."""
    path = "".join(
        f"M{_x(span.left)} {_y(bottom)}V{_y(top)}H{_x(span.right)}V{_y(bottom)}z"
        for span, bottom, top in zip(spans, bottoms, tops, strict=True)
        if top > bottom
    )
    return Markup('<path class="{}" d="{}"/>').format(look, path)


def line(look: str, spans: Sequence[Span], heights: Sequence[float | None]) -> Markup:
    """A line in steps, with a gap where there is no value."""
    path, pen_is_at = "", -1.0
    for span, height in zip(spans, heights, strict=True):
        if height is None:
            continue
        joined = abs(span.left - pen_is_at) < 1e-6
        path += f"{'' if joined else f'M{_x(span.left)} {_y(height)}'}V{_y(height)}H{_x(span.right)}"
        pen_is_at = span.right
    return Markup('<path class="line {}" d="{}"/>').format(look, path)


def rules(ticks: Iterable[Tick]) -> Markup:
    """Horizontal lines at the ticks of the vertical axis."""
    path = "".join(f"M0 {_y(tick.place)}H{WIDTH}" for tick in ticks)
    return Markup('<path class="rule" d="{}"/>').format(path)


def marks(look: str, places: Iterable[float]) -> Markup:
    """Vertical lines over the whole height."""
    path = "".join(f"M{_x(place)} 0V{HEIGHT}" for place in places)
    return Markup('<path class="{}" d="{}"/>').format(look, path)


def hits(spans: Iterable[Span]) -> Markup:
    """Invisible areas with the text of each interval."""
    one = Markup('<rect class="hit" x="{}" width="{}" height="{}"><title>{}</title></rect>')
    return Markup("").join(
        one.format(_x(span.left), _x(span.right - span.left), HEIGHT, span.text) for span in spans
    )


def plot_area(name: str, *parts: Markup) -> Markup:
    """The plot area; its title and its description have the ids `<name>-title` and `<name>-text`."""
    head = Markup(
        '<svg class="plot-area" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-labelledby="{}-title" aria-describedby="{}-text">'
    )
    return head.format(WIDTH, HEIGHT, name, name) + Markup("").join(parts) + Markup("</svg>")


def bar(looks: Sequence[str], shares: Sequence[float]) -> Markup:
    """A horizontal bar of adjacent pieces."""
    one, left, pieces = Markup('<rect class="fill {}" x="{}%" width="{}%" height="100%"/>'), 0.0, []
    for look, share in zip(looks, shares, strict=True):
        if share > 0:
            pieces.append(one.format(look, round(left * 100, 3), round(share * 100, 3)))
        left += share
    return Markup('<svg class="bar" aria-hidden="true">{}</svg>').format(Markup("").join(pieces))


def y_axis(ticks: Iterable[Tick]) -> Markup:
    """The labels of the vertical axis."""
    one = Markup('<text x="100%" y="{}" dy="0.35em">{}</text>')
    labels = Markup("").join(one.format(_y(tick.place), tick.label) for tick in ticks)
    return Markup('<svg class="y-axis" aria-hidden="true">{}</svg>').format(labels)


def x_axis(ticks: Iterable[Tick]) -> Markup:
    """The labels of the horizontal axis: as many as fit, fewer on a narrow screen."""
    one = Markup('<text class="{}" x="{:.2f}%" y="14">{}</text>')
    labels = Markup("").join(
        one.format(look, tick.place * 100, tick.label) for tick, look in _with_room(ticks)
    )
    return Markup('<svg class="x-axis" aria-hidden="true">{}</svg>').format(labels)


def _with_room(ticks: Iterable[Tick]) -> Iterator[tuple[Tick, str]]:
    end = end_narrow = -1.0
    for tick in ticks:
        # At an end of the axis a label is beside its place and not centred.
        edge, before = _side(tick.place)
        characters = len(tick.label) + 2
        if tick.place - before * characters * _CHARACTER < end:
            continue
        end = tick.place + (1 - before) * characters * _CHARACTER
        roomy = tick.place - before * characters * _CHARACTER_NARROW >= end_narrow
        if roomy:
            end_narrow = tick.place + (1 - before) * characters * _CHARACTER_NARROW
        yield tick, f"{'always' if roomy else 'wide'} {edge}".rstrip()


def _side(place: float) -> tuple[str, float]:
    """The alignment of a label, and the part of it that is before its place."""
    if place < 0.04:
        return "at-begin", 0.0
    return ("at-end", 1.0) if place > 0.96 else ("", 0.5)


def round_ceiling(highest: float, steps: int = 4) -> tuple[float, float]:
    """A round number at or above the highest value, and the round step of the axis."""
    if highest <= 0:
        return 1.0, 1.0
    raw = highest / steps
    power = 10.0 ** floor(log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999999)
    return step * ceil(highest / step - 1e-9), step


def log_ticks(lowest: float, highest: float) -> list[float]:
    """Round numbers of a logarithmic axis: 1, 2, 5, or 1 alone if these are too many."""
    factors = (1, 2, 5) if highest / lowest <= 110 else (1,)
    return _log_ticks(lowest, highest, factors)


def around(lowest: float, highest: float) -> tuple[float, float]:
    """Round bounds of a logarithmic axis, with some room below and above."""
    found = _log_ticks(lowest / 20, highest * 20, (1, 2, 5))
    below = max(value for value in found if value <= lowest / 1.05)
    return below, min(value for value in found if value >= highest * 1.05)


def _log_ticks(lowest: float, highest: float, factors: Sequence[int]) -> list[float]:
    powers = range(floor(log10(lowest)), ceil(log10(highest)) + 1)
    found = [10.0**power * factor for power in powers for factor in factors]
    return [value for value in found if lowest <= value * 1.000001 and value <= highest * 1.000001]
