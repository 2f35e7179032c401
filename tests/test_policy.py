"""Policies by hand-checked numbers."""

from __future__ import annotations

import pytest

from engager.policy import LEAST_RATE, Pace


@pytest.mark.parametrize(
    ("rate", "parts", "shares"),
    [
        (400, 4, [100, 100, 100, 100]),
        (6, 4, [1.5, 1.5, 1.5, 1.5]),
        (3.5, 4, [3.5 / 3, 3.5 / 3, 3.5 / 3, 0]),
        (1, 4, [1, 0, 0, 0]),
        (LEAST_RATE, 3, [LEAST_RATE, 0, 0]),
        (0.5, 1, [0.5]),
    ],
)
def test_the_shares_of_a_rate_add_up_to_it(rate: float, parts: int, shares: list[float]) -> None:
    found = [Pace(rate).share(index, parts) for index in range(parts)]
    assert [share.rate for share in found] == pytest.approx(shares)


@pytest.mark.parametrize("rate", [0.001, 0.5, 1, 1.5, 2, 3.99, 7, 60.5, 999])
@pytest.mark.parametrize("parts", [1, 2, 4, 7])
def test_all_shares_together_let_no_more_leave_in_a_second_than_the_rate(rate: float, parts: int) -> None:
    together = sum(Pace(rate).share(index, parts).a_second for index in range(parts))
    assert 1 <= together <= max(1, rate * 1.02)
