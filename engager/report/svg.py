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

#: Parts of the axis that two labels must be apart: on a wide screen, and on a narrow one.
_APART, _APART_NARROW = 0.1, 0.24


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
    told: str


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


def marks(look: str, places: Iterable[float]) -> Markup:
    """Upright lines over the whole height."""
    path = "".join(f"M{_x(place)} 0V{HEIGHT}" for place in places)
    return Markup('<path class="{}" d="{}"/>').format(look, path)


def hits(spans: Iterable[Span]) -> Markup:
    """What is pointed at: it says what is there."""
    one = '<rect class="hit" x="{}" width="{}" height="{}"><title>{}</title></rect>'
    return Markup("").join(
        Markup(one).format(_x(span.left), _x(span.right - span.left), HEIGHT, span.told) for span in spans
    )


def plane(*parts: Markup) -> Markup:
    """The drawing itself. It is described by what stands around it."""
    head = Markup('<svg class="plane" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">')
    return head.format(WIDTH, HEIGHT) + Markup("").join(parts) + Markup("</svg>")


def upright(ticks: Iterable[Tick]) -> Markup:
    """The labels beside the plane."""
    one = '<text x="100%" y="{}" dy="0.35em">{}</text>'
    labels = Markup("").join(Markup(one).format(_y(tick.place), tick.label) for tick in ticks)
    return Markup('<svg class="upright" aria-hidden="true">{}</svg>').format(labels)


def level(ticks: Iterable[Tick]) -> Markup:
    """The labels below the plane: as many as there is room for, fewer on a narrow screen."""
    one = '<text class="{}" x="{:.2f}%" y="14">{}</text>'
    labels = Markup("").join(
        Markup(one).format(look, tick.place * 100, tick.label) for tick, look in _with_room(ticks)
    )
    return Markup('<svg class="level" aria-hidden="true">{}</svg>').format(labels)


def _with_room(ticks: Iterable[Tick]) -> Iterator[tuple[Tick, str]]:
    last = last_narrow = -1.0
    for tick in ticks:
        if tick.place - last < _APART:
            continue
        last = tick.place
        roomy = tick.place - last_narrow >= _APART_NARROW
        last_narrow = tick.place if roomy else last_narrow
        edge = " at-begin" if tick.place < 0.04 else " at-end" if tick.place > 0.96 else ""
        yield tick, f"{'always' if roomy else 'wide'}{edge}"


def round_ceiling(highest: float, steps: int = 4) -> tuple[float, float]:
    """A round number at or above the highest, and the round steps in which it is reached."""
    if highest <= 0:
        return 1.0, 1.0
    raw = highest / steps
    power = 10.0 ** floor(log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999999)
    return step * ceil(highest / step - 1e-9), step


def decades(lowest: float, highest: float) -> list[float]:
    """Round numbers on a logarithmic axis: 1, 2, 5, or where that is too many, 1 alone."""
    first, last = floor(log10(lowest)), ceil(log10(highest))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    found = [10.0**power * factor for power in range(first, last + 1) for factor in factors]
    return [value for value in found if lowest <= value * 1.000001 and value <= highest * 1.000001]
