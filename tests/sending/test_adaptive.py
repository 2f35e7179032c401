"""The adaptive limits in virtual time: the concurrency, the controller, and a rate that changes."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left

import pytest

from engager.altcraft.classification import Meaning, Verdict
from engager.policies.adaptive import Adaptive, ConcurrencyAimd
from engager.policies.rate import Pace
from engager.sending.adaptive import AdaptiveController, ConcurrencyLimiter, with_adaptive_limit
from engager.sending.attempt import Attempt
from engager.sending.limits import RateLimiter
from engager.sending.pause import PauseGate
from engager.sending.stop import Stop
from tests.sending.scripted import request

ACCEPTED, REFUSED = Verdict(Meaning.ACCEPTED), Verdict(Meaning.NOT_ACCEPTED, http_status=503)


async def occupy(limiter: ConcurrencyLimiter, seconds: float, entered: list[float]) -> None:
    if not limiter.try_acquire():
        await limiter.acquire()
    entered.append(asyncio.get_running_loop().time())
    await asyncio.sleep(seconds)
    limiter.release()


@pytest.mark.virtual_time
async def test_the_limit_bounds_the_attempts_in_flight() -> None:
    limiter, entered = ConcurrencyLimiter(2), list[float]()
    await asyncio.gather(*(occupy(limiter, 1, entered) for _ in range(6)))
    assert entered == pytest.approx([0, 0, 1, 1, 2, 2], abs=0.01)


@pytest.mark.virtual_time
async def test_a_changed_limit_applies_at_once_and_cancels_no_attempt() -> None:
    limiter, entered, loop = ConcurrencyLimiter(1), list[float](), asyncio.get_running_loop()
    loop.call_later(0.5, limiter.set_limit, 4)
    loop.call_later(0.6, limiter.set_limit, 1)
    await asyncio.gather(*(occupy(limiter, 1, entered) for _ in range(6)))
    # the first, three when the limit rose, and the rest when all but one of the four had ended
    assert entered == pytest.approx([0, 0.5, 0.5, 0.5, 1.5, 2.5], abs=0.01)


@pytest.mark.virtual_time
@pytest.mark.parametrize("admitted", [False, True])
async def test_a_cancelled_wait_occupies_no_place(admitted: bool) -> None:
    limiter = ConcurrencyLimiter(1)
    assert limiter.try_acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0.1)
    if admitted:
        limiter.release()
    waiting.cancel()
    await asyncio.wait([waiting])
    if not admitted:
        limiter.release()
    assert limiter.try_acquire()
    assert not limiter.try_acquire()


@pytest.mark.virtual_time
async def test_an_error_occupies_its_place_as_long_as_required() -> None:
    limiter, entered, loop = ConcurrencyLimiter(1), list[float](), asyncio.get_running_loop()
    assert limiter.try_acquire()
    limiter.release_after(2)
    await occupy(limiter, 0, entered)
    assert entered == pytest.approx([2], abs=0.01)
    assert limiter.try_acquire()
    limiter.release_after(-1)
    await occupy(limiter, 0, entered)
    assert loop.time() == pytest.approx(2, abs=0.01)


def acquire_all(limiter: ConcurrencyLimiter) -> int:
    """Acquire all free places; returns their number."""
    return next(count for count in range(1000) if not limiter.try_acquire())


def controller_from(start: float) -> tuple[AdaptiveController, ConcurrencyLimiter]:
    limiter = ConcurrencyLimiter(0)
    aimd = ConcurrencyAimd(start=start, floor=1, ceiling=100)
    return AdaptiveController(Adaptive(concurrency=aimd), limiter, None), limiter  # type: ignore[arg-type]


def test_refusals_of_one_flight_lower_the_limit_once() -> None:
    controller, limiter = controller_from(40)
    for moment in range(40):
        controller.observe(0.0, 1 + moment / 1000, REFUSED)
    assert acquire_all(limiter) == 34


def test_a_refusal_of_the_next_flight_lowers_the_limit_again() -> None:
    controller, limiter = controller_from(40)
    controller.observe(0.0, 1.0, REFUSED)
    controller.observe(1.1, 1.2, REFUSED)
    assert acquire_all(limiter) == 28


def test_successes_under_an_old_limit_do_not_raise_the_new_one() -> None:
    controller, limiter = controller_from(10)
    controller.observe(0.0, 1.0, REFUSED)
    for moment in range(200):
        controller.observe(0.9, 1 + moment / 100, ACCEPTED)
    assert acquire_all(limiter) == 8


@pytest.mark.virtual_time
async def test_a_changing_rate_is_bounded_by_the_highest_of_the_second() -> None:
    rate_limiter, chance, loop = (
        RateLimiter(Pace(100), Stop()),
        random.Random(4711),
        asyncio.get_running_loop(),
    )
    left: list[float] = []
    rates = [(0.0, 100.0)]

    async def sender() -> None:
        while loop.time() < 60:
            await rate_limiter.wait()
            left.append(loop.time())

    async def change_rate() -> None:
        while loop.time() < 60:
            await asyncio.sleep(chance.choice((0.01, 0.1, 1.0)))
            rates.append((loop.time(), chance.uniform(20, 100)))
            rate_limiter.set_pace(Pace(rates[-1][1]))

    await asyncio.gather(change_rate(), *(sender() for _ in range(64)))
    assert len(left) > 2000
    for index, moment in enumerate(left):
        since = moment - 1 + 1e-9
        before = bisect_left(rates, (since, 0.0)) - 1
        highest = max(rate for at, rate in rates[max(0, before) :] if at <= moment)
        assert index + 1 - bisect_left(left, since) <= highest * 1.02


@pytest.mark.virtual_time
async def test_frequent_changes_of_the_rate_do_not_exceed_it() -> None:
    rate_limiter, loop, left = RateLimiter(Pace(50), Stop()), asyncio.get_running_loop(), list[float]()
    for _ in range(500):
        await rate_limiter.wait()
        left.append(loop.time())
        rate_limiter.set_pace(Pace(50))
    assert loop.time() < 10.5
    assert all(b - a >= 1 - 1e-6 for a, b in zip(left, left[50:], strict=False))


@pytest.mark.virtual_time
async def test_no_burst_follows_a_pause() -> None:
    stop, loop = Stop(), asyncio.get_running_loop()
    gate, left = PauseGate(stop), list[float]()
    rate_limiter = RateLimiter(Pace(100), stop, gate)

    async def sender() -> None:
        while loop.time() < 4:
            await gate.wait()
            await rate_limiter.wait()
            if not gate.shut:
                left.append(loop.time())

    loop.call_later(2, gate.close, 1)
    await asyncio.gather(*(sender() for _ in range(64)))
    assert not [moment for moment in left if 2.01 < moment < 3]
    assert len([moment for moment in left if 3 <= moment < 3.1]) <= 12


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("rows", "falls"),
    [
        ([ACCEPTED, Verdict(Meaning.REJECTED, 400)], False),
        ([ACCEPTED, Verdict(Meaning.NOT_ACCEPTED, 429)], True),
        ([Verdict(Meaning.UNKNOWN, 500), Verdict(Meaning.UNKNOWN, 500)], True),
    ],
)
async def test_a_batch_shows_the_limits_by_what_became_of_its_rows(rows: list[Verdict], falls: bool) -> None:
    """Its response is a success, whatever it says of the rows."""
    verdict = Verdict(Meaning.ACCEPTED, 0, http_status=200, rows=rows)
    seen, flying, stop = list[int](), list[Attempt](), Stop()

    async def call(attempt: Attempt) -> Verdict:
        attempt.due = asyncio.get_running_loop().time()
        flying.append(attempt)
        seen.append(len(flying))
        await asyncio.sleep(0.1)
        flying.pop()
        return verdict

    adaptive = Adaptive(concurrency=ConcurrencyAimd(start=20, floor=1, ceiling=20))
    within = with_adaptive_limit(adaptive, RateLimiter(None, stop), call)

    async def work() -> None:
        for _ in range(20):
            await within(Attempt(request(), "id", 0.0, 0.0))

    await asyncio.gather(*(work() for _ in range(20)))
    assert (max(seen[-100:]) < 20) == falls
