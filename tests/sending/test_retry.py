"""Retries of a row: how often, after which waits, and within which load."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from engager.models import (
    Ending,
    Reply,
    Status,
)
from engager.policies.delivery import Mode
from engager.policies.rate import Pace
from engager.policies.retry import Retry
from tests.sending.scripted import (
    BUSY,
    OK,
    REFUSED,
    REJECTION,
    REPEATED,
    SILENT,
    TOO_MANY,
    Script,
    compose,
    request,
    settle,
)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("mode", "endings", "status", "attempts"),
    [
        (Mode.EXACTLY_ONCE, [OK], Status.ENGAGED, 1),
        (Mode.EXACTLY_ONCE, [REJECTION], Status.REJECTED, 1),
        (Mode.EXACTLY_ONCE, [BUSY, REFUSED, SILENT, OK], Status.ENGAGED, 4),
        (Mode.EXACTLY_ONCE, [BUSY] * 9, Status.FAILED, 4),
        (Mode.EXACTLY_ONCE, [REFUSED] * 9, Status.FAILED, 4),
        (Mode.EXACTLY_ONCE, [SILENT] * 9, Status.IN_DOUBT, 4),
        (Mode.EXACTLY_ONCE, [SILENT, BUSY, BUSY, BUSY], Status.IN_DOUBT, 4),
        (Mode.AT_MOST_ONCE, [SILENT, OK], Status.IN_DOUBT, 1),
        (Mode.AT_MOST_ONCE, [REFUSED, TOO_MANY, SILENT, OK], Status.IN_DOUBT, 3),
        (Mode.AT_MOST_ONCE, [BUSY, OK], Status.IN_DOUBT, 1),
        (Mode.AT_LEAST_ONCE, [SILENT, SILENT, OK], Status.ENGAGED, 3),
    ],
)
async def test_a_row_is_attempted_until_it_is_settled(
    mode: Mode, endings: Sequence[Ending], status: Status, attempts: int
) -> None:
    outcome = await settle(compose(Script(*endings), mode=mode))
    assert (outcome.status, outcome.attempts) == (status, attempts)


@pytest.mark.virtual_time
async def test_the_request_id_is_stable_until_its_error_is_repeated() -> None:
    script = Script(SILENT, BUSY, REPEATED, OK)
    outcome = await settle(compose(script))
    assert [id_ for _, id_ in script.left] == ["id-1", "id-1", "id-1", "id-1.1"]
    assert outcome.request_id == "id-1.1"


@pytest.mark.virtual_time
async def test_waits_between_attempts_grow_and_are_jittered() -> None:
    longest = [0.0] * 3
    for _ in range(200):
        script = Script(BUSY, BUSY, BUSY, seconds=0)
        await settle(compose(script))
        times = [moment for moment, _ in script.left]
        longest = [max(old, b - a) for old, a, b in zip(longest, times, times[1:], strict=False)]
    for waited, row_limit in zip(longest, (1, 2, 4), strict=True):
        assert 0.9 * row_limit < waited <= row_limit + 0.01


@pytest.mark.virtual_time
async def test_retries_count_for_the_rate_limit_like_first_attempts() -> None:
    script = Script(*[BUSY] * 50, seconds=0)
    engage = compose(script, pace=Pace(10), retry=Retry(attempts=20, base_delay=0.01, max_delay=0.01))
    await asyncio.gather(*(engage(request(number)) for number in range(20)))
    times = [moment for moment, _ in script.left]
    assert len(times) == 70
    assert all(b - a > 0.99 for a, b in zip(times, times[10:], strict=False))


@pytest.mark.virtual_time
async def test_waiting_does_not_count_as_latency() -> None:
    engage = compose(Script(Reply(429, b"", retry_after="30")))
    outcome = await settle(engage)
    assert outcome.latency_ms == pytest.approx(50, abs=1)
    assert outcome.waited_ms == pytest.approx(30_000, abs=10)


@pytest.mark.virtual_time
async def test_the_retry_budget_limits_the_load_in_an_outage() -> None:
    script = Script(*[BUSY] * 100_000, seconds=0)
    retry = Retry(attempts=5, base_delay=0.01, max_delay=0.01, budget_rate=10, budget_reserve=100)
    engage = compose(script, retry=retry)
    numbers = iter(range(10_000))
    stop_at = asyncio.get_running_loop().time() + 60

    async def worker() -> None:
        while asyncio.get_running_loop().time() < stop_at:
            await engage(request(next(numbers)))

    await asyncio.gather(*(worker() for _ in range(8)))
    # the reserve, the trickle, and a first attempt for every four retries
    assert len(script.left) < (100 + 60 * 10) * 1.25 + 20
