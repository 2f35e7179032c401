"""The steps of adaptive limits, with numbers that are computed by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engager.policies.adaptive import AimdSettings, Level, Reading, concurrency_settings, rate_settings

CONCURRENCY, RATE = concurrency_settings(64), rate_settings(1000)

#: Half a second with 20 attempts in flight, each of which took 100 ms.
FULL = Reading(seconds=0.5, done=100, busy=10, accepted=100, latency=0.1, error=0, failed=0)

#: The same responses, each of which waited for 60 ms in a queue.
QUEUED = replace(FULL, busy=16, latency=0.16)


def after_trouble(value: float, **more: Any) -> Level:
    """A level after a refusal or a queue; an idle endpoint takes 100 ms."""
    return replace(Level(value, ramping=False, base=0.1), **more)


def test_a_limit_doubles_up_to_its_ceiling() -> None:
    level, reached = CONCURRENCY.begin(), list[float]()
    while len(reached) < 8:
        reached.append(level.value)
        level = CONCURRENCY.next(level, replace(FULL, busy=0.5 * level.value))
    assert reached == [1, 2, 4, 8, 16, 32, 64, 64]


def test_a_low_ceiling_applies_from_the_start() -> None:
    assert rate_settings(0.5).begin().value == 0.5
    assert rate_settings(0.5).next(Level(0.5), replace(FULL, limited=1)).value == 0.5


@pytest.mark.parametrize(
    ("aimd", "value", "seconds", "reading"),
    [
        (CONCURRENCY, 40, 0.5, FULL),  # 20 of 40 in flight
        (RATE, 300, 0.5, FULL),  # 200 of 300 a second
    ],
)
def test_an_unused_limit_is_not_raised(
    aimd: AimdSettings, value: float, seconds: float, reading: Reading
) -> None:
    assert aimd.next(Level(value), reading).value == value


@pytest.mark.parametrize(("calm", "after"), [(0, 20.05), (9.5, 21), (39.5, 24), (500, 30)])
def test_a_limit_grows_faster_after_a_longer_calm(calm: float, after: float) -> None:
    grown = CONCURRENCY.next(after_trouble(20, calm=calm), FULL)
    assert grown.value == pytest.approx(after)
    assert grown.calm == calm + 0.5


@pytest.mark.parametrize(
    ("aimd", "before", "after"), [(CONCURRENCY, 20, 17), (CONCURRENCY, 1, 1), (RATE, 200, 170), (RATE, 1, 1)]
)
def test_a_refusal_lowers_the_limit_and_resets_the_calm(
    aimd: AimdSettings, before: float, after: float
) -> None:
    assert aimd.next(after_trouble(before, calm=30), replace(FULL, limited=1)) == after_trouble(after)


@pytest.mark.parametrize(
    ("aimd", "before", "after"),
    [
        (CONCURRENCY, 32, 18),  # 200 a second of 100 ms are 20 in flight; nine tenths of that
        (CONCURRENCY, 60, 30),  # never less than half
        (CONCURRENCY, 19, 17.1),  # never more than nine tenths
        (RATE, 220, 180),
        (RATE, 900, 180),  # the served rate is known, also if it is far below
    ],
)
def test_a_queue_cuts_the_limit_to_the_served_load(aimd: AimdSettings, before: float, after: float) -> None:
    cut = aimd.next(Level(before, base=0.1, calm=7), QUEUED)
    assert cut == after_trouble(pytest.approx(after), cuts=1, cut_at=0.16)  # type: ignore[arg-type]


def test_a_draining_queue_does_not_lower_the_limit() -> None:
    draining = CONCURRENCY.next(after_trouble(18, cuts=1, cut_at=0.2), QUEUED)
    assert draining == after_trouble(18)
    assert CONCURRENCY.next(draining, QUEUED).value < 18


def test_one_cut_without_effect_does_not_raise_the_base() -> None:
    again = CONCURRENCY.next(after_trouble(18, cuts=1, cut_at=0.16), QUEUED)
    assert again.value == pytest.approx(16.2)
    assert (again.cuts, again.base) == (2, 0.1)


def test_two_cuts_without_effect_raise_the_base() -> None:
    assert CONCURRENCY.next(after_trouble(18, cuts=2, cut_at=0.16), QUEUED) == after_trouble(18, base=0.16)


def test_a_lower_latency_becomes_the_base() -> None:
    assert CONCURRENCY.next(after_trouble(60), replace(FULL, latency=0.08)).base == 0.08


@pytest.mark.parametrize(("error", "slowed"), [(0.0, True), (0.004, True), (0.006, False)])
def test_an_uncertain_latency_does_not_lower_the_limit(error: float, slowed: bool) -> None:
    after = CONCURRENCY.next(after_trouble(20), replace(QUEUED, error=error))
    assert (after.value < 20) is slowed
    assert (
        CONCURRENCY.next(after_trouble(60), replace(FULL, latency=0.08, error=error)).base == 0.08 + 2 * error
    )


@pytest.mark.parametrize(("error", "drains"), [(0.0, False), (0.01, True)])
def test_an_uncertain_latency_counts_as_draining(error: float, drains: bool) -> None:
    after = CONCURRENCY.next(
        after_trouble(18, cuts=2, cut_at=0.19), replace(QUEUED, latency=0.2, error=error)
    )
    assert after.base == (0.1 if drains else 0.2)


@pytest.mark.parametrize(
    "errors",
    [
        replace(FULL, busy=10, accepted=0, latency=0, failed=0),  # all rejected
        replace(FULL, done=16, busy=10, accepted=4, latency=0.001, failed=12),
    ],
    ids=["rejections", "failures and few successes"],
)
@pytest.mark.parametrize("level", [Level(4), after_trouble(4, calm=100)], ids=["ramping", "calm"])
def test_errors_do_not_raise_a_limit(errors: Reading, level: Level) -> None:
    assert CONCURRENCY.next(level, errors) == level


def test_a_large_share_of_failures_lowers_the_limit() -> None:
    assert CONCURRENCY.next(after_trouble(20), replace(FULL, accepted=24, failed=76)).value == 17
