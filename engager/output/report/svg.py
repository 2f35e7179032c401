"""Numbers in, drawings out: columns, lines, and their axes, as SVG that fits any width.

The plane of a drawing is 1000 wide and as high as it is shown; it is stretched to the width there is. Text
is not part of it, since it must not be stretched: it stands at percentages beside the plane.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup

HEIGHT = 200
WIDTH = 1000

#: What a character takes of the axis, about: of a plot that is one of two on a wide screen, and on a phone.
_CHARACTER, _CHARACTER_NARROW = 7 / 430, 7 / 215


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, 0 to 1, and what is written there."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the horizontal axis, 0 to 1, and what is said of it when it is pointed at."""

    left: float
    right: float
    text: str


def _x(place: float) -> str:
    return f"{place * WIDTH:.2f}".rstrip("0").rstrip(".")


def _y(share: float) -> str:
    return f"{HEIGHT - min(max(share, 0.0), 1.0) * HEIGHT:.2f}".rstrip("0").rstrip(".")


def columns(look: str, spans: Sequence[Span], bottoms: Sequence[float], tops: Sequence[float]) -> Markup:
    """Columns that stand on each other or on the ground; heights are shares of the whole height."""
    path = "".join(
        f"M{_x(span.left)} {_y(bottom)}V{_y(top)}H{_x(span.right)}V{_y(bottom)}z"
        for span, bottom, top in zip(spans, bottoms, tops, strict=True)
        if top > bottom
    )
    return Markup('<path class="{}" d="{}"/>').format(look, path)


def line(look: str, spans: Sequence[Span], heights: Sequence[float | None]) -> Markup:
    """A line in steps, which is broken where there is no value."""
    path, pen_is_at = "", -1.0
    for span, height in zip(spans, heights, strict=True):
        if height is None:
            continue
        joined = abs(span.left - pen_is_at) < 1e-6
        path += f"{'' if joined else f'M{_x(span.left)} {_y(height)}'}V{_y(height)}H{_x(span.right)}"
        pen_is_at = span.right
    return Markup('<path class="line {}" d="{}"/>').format(look, path)


def rules(ticks: Iterable[Tick]) -> Markup:
    """Level lines at the ticks of the vertical axis."""
    path = "".join(f"M0 {_y(tick.place)}H{WIDTH}" for tick in ticks)
    return Markup('<path class="rule" d="{}"/>').format(path)


def marks(look: str, limiter: Iterable[float]) -> Markup:
    """Upright lines over the whole height."""
    path = "".join(f"M{_x(place)} 0V{HEIGHT}" for place in limiter)
    return Markup('<path class="{}" d="{}"/>').format(look, path)


def hits(spans: Iterable[Span]) -> Markup:
    """What is pointed at: it says what is there."""
    one = Markup('<rect class="hit" x="{}" width="{}" height="{}"><title>{}</title></rect>')
    return Markup("").join(
        one.format(_x(span.left), _x(span.right - span.left), HEIGHT, span.text) for span in spans
    )


def plot_area(name: str, *parts: Markup) -> Markup:
    """The drawing itself; its title and its description have the ids `<name>-title` and `<name>-told`."""
    head = Markup(
        '<svg class="plane" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-labelledby="{}-title" aria-describedby="{}-told">'
    )
    return head.format(WIDTH, HEIGHT, name, name) + Markup("").join(parts) + Markup("</svg>")


def bar(looks: Sequence[str], shares: Sequence[float]) -> Markup:
    """A level bar of pieces beside each other."""
    one, left, pieces = Markup('<rect class="fill {}" x="{}%" width="{}%" height="100%"/>'), 0.0, []
    for look, share in zip(looks, shares, strict=True):
        if share > 0:
            pieces.append(one.format(look, round(left * 100, 3), round(share * 100, 3)))
        left += share
    return Markup('<svg class="bar" aria-hidden="true">{}</svg>').format(Markup("").join(pieces))


def y_axis(ticks: Iterable[Tick]) -> Markup:
    """The labels beside the plane."""
    one = Markup('<text x="100%" y="{}" dy="0.35em">{}</text>')
    labels = Markup("").join(one.format(_y(tick.place), tick.label) for tick in ticks)
    return Markup('<svg class="upright" aria-hidden="true">{}</svg>').format(labels)


def x_axis(ticks: Iterable[Tick]) -> Markup:
    """The labels below the plane: as many as there is room for, fewer on a narrow screen."""
    one = Markup('<text class="{}" x="{:.2f}%" y="14">{}</text>')
    labels = Markup("").join(
        one.format(look, tick.place * 100, tick.label) for tick, look in _with_room(ticks)
    )
    return Markup('<svg class="level" aria-hidden="true">{}</svg>').format(labels)


def _with_room(ticks: Iterable[Tick]) -> Iterator[tuple[Tick, str]]:
    end = end_narrow = -1.0
    for tick in ticks:
        # At an end of the axis a label stands beside its place, and not in the middle of it.
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
    """How a label is set at a place, and the part of it that stands before the place."""
    if place < 0.04:
        return "at-begin", 0.0
    return ("at-end", 1.0) if place > 0.96 else ("", 0.5)


def round_ceiling(highest: float, steps: int = 4) -> tuple[float, float]:
    """A round number at or above the highest, and the round steps in which it is reached."""
    if highest <= 0:
        return 1.0, 1.0
    raw = highest / steps
    power = 10.0 ** floor(log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999999)
    return step * ceil(highest / step - 1e-9), step


def log_ticks(lowest: float, highest: float) -> list[float]:
    """Round numbers on a logarithmic axis: 1, 2, 5, or where that is too many, 1 alone."""
    factors = (1, 2, 5) if highest / lowest <= 110 else (1,)
    return _log_ticks(lowest, highest, factors)


def around(lowest: float, highest: float) -> tuple[float, float]:
    """The round numbers between which a logarithmic axis has some room below and above."""
    found = _log_ticks(lowest / 20, highest * 20, (1, 2, 5))
    below = max(value for value in found if value <= lowest / 1.05)
    return below, min(value for value in found if value >= highest * 1.05)


def _log_ticks(lowest: float, highest: float, factors: Sequence[int]) -> list[float]:
    powers = range(floor(log10(lowest)), ceil(log10(highest)) + 1)
    found = [10.0**power * factor for power in powers for factor in factors]
    return [value for value in found if lowest <= value * 1.000001 and value <= highest * 1.000001]
