"""Numbers as people read them."""

from __future__ import annotations

import pytest

from engager.output.report.text import duration, milliseconds, number


@pytest.mark.parametrize(
    ("value", "fact"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (3.14159, "3.14"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (10_000_000, "10,000,000"),
    ],
)
def test_numbers(value: float, fact: str) -> None:
    assert number(value) == fact


@pytest.mark.parametrize(
    ("value", "fact"), [(0.001, "0.001 ms"), (12.345, "12.3 ms"), (999.7, "1 s"), (90_000, "1 min 30 s")]
)
def test_milliseconds(value: float, fact: str) -> None:
    assert milliseconds(value) == fact


@pytest.mark.parametrize(
    ("seconds", "fact"),
    [(0.5, "0.5 s"), (59.9, "59.9 s"), (60, "1 min"), (3_661, "1 h 1 min"), (86_400 * 3 + 7_200, "3 d 2 h")],
)
def test_durations(seconds: float, fact: str) -> None:
    assert duration(seconds) == fact
