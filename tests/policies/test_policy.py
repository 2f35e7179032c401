"""The pace: the number of requests in a second."""

from __future__ import annotations

import pytest

from engager.policies.rate import Pace


@pytest.mark.parametrize("rate", [0.001, 0.5, 1, 1.5, 2, 3.99, 7, 60.5, 999])
def test_the_pace_stays_below_the_rate_in_a_second(rate: float) -> None:
    assert 1 <= Pace(rate).per_second <= max(1, rate * 1.02)
