"""Numbers and times as text."""

from __future__ import annotations

from itertools import pairwise

_UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def number(value: float) -> str:
    """A number as text: whole, unless it is small."""
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def milliseconds(value: float) -> str:
    """A time in milliseconds, in a suitable unit."""
    if value < 999.5:
        return f"{value:.3g} ms"
    return f"{value / 1000:.3g} s" if value < 60_000 else duration(value / 1000)


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    for (size, unit), (smaller, small_unit) in pairwise(_UNITS):
        if seconds >= size:
            whole, rest = divmod(round(seconds / smaller), round(size / smaller))
            return f"{whole} {unit} {rest} {small_unit}" if rest else f"{whole} {unit}"
    return f"{seconds:.0f} s"


def word(status: str) -> str:
    """A status as text."""
    return status.replace("_", " ")
