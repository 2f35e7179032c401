"""Numbers as people read them."""

from __future__ import annotations

import pytest

from engager.output.report.text import duration, milliseconds, number, share
from engager.output.text import plural


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
    ("part", "whole", "fact"),
    [
        (0, 0, "0 %"),
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (1, 3, "33.3 %"),
        (1, 10_000_000, "< 0.01 %"),
        (9_999_999, 10_000_000, "> 99.99 %"),
        (999, 1000, "99.90 %"),
    ],
)
def test_only_nothing_is_none_and_only_all_is_all(part: int, whole: int, fact: str) -> None:
    assert share(part, whole) == fact


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


def test_one_and_many() -> None:
    assert (plural(1, "row"), plural(2_000, "row"), plural(2, "pass", "passes")) == (
        "1 row",
        "2,000 rows",
        "2 passes",
    )
