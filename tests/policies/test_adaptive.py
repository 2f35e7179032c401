"""The climbing of adaptive limits, by numbers that were worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engager.policies.adaptive import AimdSettings, Level, Reading, concurrency_settings, rate_settings

CONCURRENCY, RATE = concurrency_settings(64), rate_settings(1000)

#: Half a second with 20 tries in flight, each of which took 100 ms.
FULL = Reading(seconds=0.5, done=100, busy=10, accepted=100, latency=0.1, error=0, failed=0)

#: The same answers, each of which waited for 60 ms in a queue.
QUEUED = replace(FULL, busy=16, latency=0.16)


def held(value: float, **more: Any) -> Level:
    """A level that has seen trouble before and knows that an idle endpoint takes 100 ms."""
    return replace(Level(value, ramping=False, base=0.1), **more)


def test_it_doubles_until_its_ceiling_and_no_further() -> None:
    level, reached = CONCURRENCY.begin(), list[float]()
    while len(reached) < 8:
        reached.append(level.value)
        level = CONCURRENCY.next(level, replace(FULL, busy=0.5 * level.value))
    assert reached == [1, 2, 4, 8, 16, 32, 64, 64]


def test_a_low_ceiling_applies_from_the_start() -> None:
    assert rate_settings(0.5).begin().value == 0.5
    assert rate_settings(0.5).next(Level(0.5), replace(FULL, limited=1)).value == 0.5


@pytest.mark.parametrize(
    ("climb", "value", "seconds", "reading"),
    [
        (CONCURRENCY, 40, 0.5, FULL),  # 20 of 40 in flight
        (RATE, 300, 0.5, FULL),  # 200 of 300 a second
    ],
)
def test_a_limit_that_is_not_used_up_proves_nothing(
    climb: AimdSettings, value: float, seconds: float, reading: Reading
) -> None:
    assert climb.next(Level(value), reading).value == value


@pytest.mark.parametrize(("calm", "after"), [(0, 20.05), (9.5, 21), (39.5, 24), (500, 30)])
def test_after_trouble_it_grows_the_faster_the_longer_it_was_calm(calm: float, after: float) -> None:
    grown = CONCURRENCY.next(held(20, calm=calm), FULL)
    assert grown.value == pytest.approx(after)
    assert grown.calm == calm + 0.5


@pytest.mark.parametrize(
    ("climb", "before", "after"), [(CONCURRENCY, 20, 17), (CONCURRENCY, 1, 1), (RATE, 200, 170), (RATE, 1, 1)]
)
def test_a_refusal_takes_a_share_at_once_and_the_calm(
    climb: AimdSettings, before: float, after: float
) -> None:
    assert climb.next(held(before, calm=30), replace(FULL, limited=1)) == held(after)


@pytest.mark.parametrize(
    ("climb", "before", "after"),
    [
        (CONCURRENCY, 32, 18),  # 200 a second of 100 ms are 20 in flight; nine tenths of that
        (CONCURRENCY, 60, 30),  # never less than half
        (CONCURRENCY, 19, 17.1),  # never more than nine tenths
        (RATE, 220, 180),
        (RATE, 900, 180),  # what is served is known, however far it is away
    ],
)
def test_a_queue_is_cut_to_what_the_endpoint_manages(
    climb: AimdSettings, before: float, after: float
) -> None:
    cut = climb.next(Level(before, base=0.1, calm=7), QUEUED)
    assert cut == held(pytest.approx(after), cuts=1, cut_at=0.16)  # type: ignore[arg-type]


def test_while_the_queue_drains_it_waits() -> None:
    draining = CONCURRENCY.next(held(18, cuts=1, cut_at=0.2), QUEUED)
    assert draining == held(18)
    assert CONCURRENCY.next(draining, QUEUED).value < 18


def test_one_cut_that_does_not_help_proves_nothing() -> None:
    again = CONCURRENCY.next(held(18, cuts=1, cut_at=0.16), QUEUED)
    assert again.value == pytest.approx(16.2)
    assert (again.cuts, again.base) == (2, 0.1)


def test_two_cuts_that_do_not_help_prove_that_the_endpoint_became_slower() -> None:
    assert CONCURRENCY.next(held(18, cuts=2, cut_at=0.16), QUEUED) == held(18, base=0.16)


def test_a_lower_latency_is_the_new_base() -> None:
    assert CONCURRENCY.next(held(60), replace(FULL, latency=0.08)).base == 0.08


@pytest.mark.parametrize(("error", "slowed"), [(0.0, True), (0.004, True), (0.006, False)])
def test_latencies_that_scatter_prove_less(error: float, slowed: bool) -> None:
    after = CONCURRENCY.next(held(20), replace(QUEUED, error=error))
    assert (after.value < 20) is slowed
    assert CONCURRENCY.next(held(60), replace(FULL, latency=0.08, error=error)).base == 0.08 + 2 * error


@pytest.mark.parametrize(("error", "drains"), [(0.0, False), (0.01, True)])
def test_in_doubt_a_cut_has_helped(error: float, drains: bool) -> None:
    after = CONCURRENCY.next(held(18, cuts=2, cut_at=0.19), replace(QUEUED, latency=0.2, error=error))
    assert after.base == (0.1 if drains else 0.2)


@pytest.mark.parametrize(
    "errors",
    [
        replace(FULL, busy=10, accepted=0, latency=0, failed=0),  # all rejected
        replace(FULL, done=16, busy=10, accepted=4, latency=0.001, failed=12),
    ],
    ids=["rejections", "failures and few successes"],
)
@pytest.mark.parametrize("level", [Level(4), held(4, calm=100)], ids=["ramping", "calm"])
def test_errors_raise_nothing(errors: Reading, level: Level) -> None:
    assert CONCURRENCY.next(level, errors) == level


def test_nearly_nothing_but_failures_are_trouble() -> None:
    assert CONCURRENCY.next(held(20), replace(FULL, accepted=24, failed=76)).value == 17
