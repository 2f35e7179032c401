"""The adaptive limits on every load shape: near the best possible, and gentle."""

from __future__ import annotations

from bisect import bisect_left

import pytest

from tests.sending.shapes import SHAPES, Shape, carried_out

#: Share of the best possible at the end, where it is not nine tenths.
REACHED = {
    # only a refusal shows where the limit is, and each costs a pause of a second
    "a hard rate limit with Retry-After": 0.8,
    "503 when over capacity": 0.85,
    "a capacity that collapses": 0.85,
    "fast errors for a while": 0.8,
    "a third fast errors": 0.75,
    "jittery latency": 0.8,
    "very jittery latency": 0.6,  # what is drawn decides
    "a capacity of one": 0.75,
}

#: Latency at the end, in times of an idle endpoint's, where it is not 1.25.
INFLATION = {"a cold cache": 1.75, "a capacity of one": 1.5}

SHAPE = {shape.name: shape for shape in SHAPES}

BOTH = [SHAPE[name] for name in ("a capacity that halves", "a hard rate limit")]


@pytest.mark.parametrize(
    ("shape", "knob"),
    [
        *((shape, knob) for shape in SHAPES for knob in ("concurrency", "rate")),
        *((shape, "both") for shape in BOTH),
    ],
    ids=lambda value: value.name if isinstance(value, Shape) else value,
)
def test_it_ends_near_the_best_possible_and_spares_the_endpoint(shape: Shape, knob: str) -> None:
    account = carried_out(shape, knob)
    assert account.ratio >= REACHED.get(shape.name, 0.9)
    assert account.whole >= 0.5
    assert account.refused <= 0.005
    assert account.inflation <= INFLATION.get(shape.name, 1.25)
    # A step of the ramp to twice the capacity lasts for a window: seven in line where one is served.
    assert account.deepest <= max(7, 2.5 * max(map(shape.workers, range(int(shape.seconds)))))


@pytest.mark.parametrize("knob", ["concurrency", "rate"])
def test_fast_errors_never_speed_it_up(knob: str) -> None:
    sent = carried_out(SHAPE["fast errors for a while"], knob).sent
    busiest = max(_within(sent, second) for second in range(10, 20))
    for second in range(20, 30):
        assert _within(sent, second) <= busiest


def _within(moments: list[float], second: int) -> int:
    return bisect_left(moments, second + 1) - bisect_left(moments, second)
