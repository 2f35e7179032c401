"""Facts of a run as every view says them."""

from __future__ import annotations

import time

import pytest

from engager.output.text import destination, left_until, plural, share, waits_text


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


def test_one_and_many() -> None:
    assert (plural(1, "row"), plural(2_000, "row"), plural(2, "pass", "passes")) == (
        "1 row",
        "2,000 rows",
        "2 passes",
    )


def test_a_remaining_time_ends_by_the_clock() -> None:
    morning = time.mktime((2026, 11, 24, 8, 0, 0, 0, 0, -1))
    assert left_until(200, morning).endswith("08:03")
    assert left_until(86_400, morning).endswith("2026-11-25 08:00")  # of another day with its date


@pytest.mark.parametrize(
    ("stopping", "within", "holders", "waits_for", "facts"),
    [
        (None, None, {}, None, []),
        (None, None, {}, "the endpoint", ["the endpoint"]),
        (None, None, {"operator": "root", "window": "opens 09:00"}, None, ["root", "opens 09:00"]),
        ("SIGINT", 25.4, {"operator": "root"}, None, ["at most 26 s"]),
        ("SIGINT", None, {}, None, ["SIGINT"]),
    ],
)
def test_why_no_request_leaves(
    stopping: str | None,
    within: float | None,
    holders: dict[str, str],
    waits_for: str | None,
    facts: list[str],
) -> None:
    lines = waits_text(stopping, within, holders, waits_for)
    assert len(lines) == len(facts)
    assert all(fact in line for fact, line in zip(facts, lines, strict=True))


def test_the_sandbox_reaches_nobody() -> None:
    assert "nobody" in destination("sandbox", "12")
    assert destination("https://crm.example.com", "12") == "https://crm.example.com, scenario 12"
    assert destination("https://crm.example.com", None) == "https://crm.example.com"
