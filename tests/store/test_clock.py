"""The moment at which an attempt left, by clocks that cannot be trusted."""

from __future__ import annotations

import pytest

from engager.store.clock import Moment, on_boot_clock

HOUR = 3600.0
NEVER = float("-inf")


@pytest.mark.parametrize(
    ("then", "now", "latest_wall", "expected"),
    [
        # Within a boot the wall clock does not count.
        (Moment(1000, 50, 7), Moment(1100, 150, 7), 1000, 50),
        (Moment(1000, 50, 7), Moment(10, 150, 7), 1000, 50),
        (Moment(1000, 50, 7), Moment(9e9, 150, 7), 1000, 50),
        # Another boot: the wall clock counts.
        (Moment(1000, 50, 7), Moment(1000 + HOUR, 20, 8), 1000, 20 - HOUR),
        # … unless it was set back to before a moment that is known to be past.
        (Moment(1000, 50, 7), Moment(999, 20, 8), 1000, NEVER),
        (Moment(1000, 50, 7), Moment(1500, 20, 8), 1600, NEVER),
        # A system without boot ids.
        (Moment(1000, 50, 0), Moment(1010, 60, 0), 1000, 50),
        # The boot clock of another container.
        (Moment(1000, 500, 7), Moment(1010, 60, 7), 1000, 50),
    ],
)
def test_a_moment_is_converted_to_the_boot_clock(
    then: Moment, now: Moment, latest_wall: float, expected: float
) -> None:
    assert on_boot_clock(then, now, latest_wall) == expected
