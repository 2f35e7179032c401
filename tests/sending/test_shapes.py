"""The adaptive limits on every load shape: near the best possible throughput, without overload."""

from __future__ import annotations

from bisect import bisect_left

import pytest

from tests.sending.shapes import SHAPES, Shape, measure

#: Share of the best possible at the end, where it is not nine tenths.
LEAST_RATIO = {
    # only a refusal shows where the limit is, and each costs a pause of a second
    "a hard rate limit with Retry-After": 0.8,
    "503 when over capacity": 0.85,
    "a capacity that collapses": 0.85,
    "fast errors for a while": 0.8,
    "a third fast errors": 0.75,
    "jittery latency": 0.8,
    "very jittery latency": 0.6,  # depends on the random draws
    "a capacity of one": 0.75,
}

#: Latency at the end, in times of an idle endpoint's, where it is not 1.25.
MOST_INFLATION = {"a cold cache": 1.75, "a capacity of one": 1.5}

SHAPE = {shape.name: shape for shape in SHAPES}

BOTH = [SHAPE[name] for name in ("a capacity that halves", "a hard rate limit")]


@pytest.mark.parametrize(
    ("shape", "limit"),
    [
        *((shape, limit) for shape in SHAPES for limit in ("concurrency", "rate")),
        *((shape, "both") for shape in BOTH),
    ],
    ids=lambda value: value.name if isinstance(value, Shape) else value,
)
def test_a_limit_ends_near_the_optimum_without_overload(shape: Shape, limit: str) -> None:
    measures = measure(shape, limit)
    assert measures.ratio >= LEAST_RATIO.get(shape.name, 0.9)
    assert measures.whole >= 0.5
    assert measures.refused <= 0.005
    assert measures.inflation <= MOST_INFLATION.get(shape.name, 1.25)
    # A step of the ramp to twice the capacity lasts for a window: seven queue where one is served.
    assert measures.longest_queue <= max(7, 2.5 * max(map(shape.workers, range(int(shape.seconds)))))


@pytest.mark.parametrize("limit", ["concurrency", "rate"])
def test_fast_errors_do_not_raise_a_limit(limit: str) -> None:
    sent = measure(SHAPE["fast errors for a while"], limit).sent
    busiest = max(_within(sent, second) for second in range(10, 20))
    for second in range(20, 30):
        assert _within(sent, second) <= busiest


def _within(moments: list[float], second: int) -> int:
    return bisect_left(moments, second + 1) - bisect_left(moments, second)
