"""Rate limit, pause, stop, retry budget and Retry-After, in virtual time."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.errors import Exit
from engager.policies.rate import Pace
from engager.sending.limits import RateLimiter, RetryBudget
from engager.sending.pause import BREAKER, LONGEST_PAUSE, PauseGate, pause_seconds
from engager.sending.stop import Stop
from tests.conftest import VirtualLoop


def most_in_a_second(times: list[float]) -> int:
    """The maximum number of these moments in any sliding second."""
    return max(index + 1 - bisect_left(times, moment - 1 + 1e-9) for index, moment in enumerate(times))


@pytest.mark.virtual_time
@pytest.mark.parametrize("rate", [0.5, 1, 3, 10, 49.5, 60, 100, 150, 500, 5000])
async def test_the_rate_holds_in_every_sliding_second(rate: float) -> None:
    rate_limiter = RateLimiter(Pace(rate), Stop())
    left: list[float] = []

    async def worker() -> None:
        while len(left) < max(4, rate * 4):
            await rate_limiter.wait()
            left.append(asyncio.get_running_loop().time())

    await asyncio.gather(*(worker() for _ in range(64)))
    assert most_in_a_second(left) <= max(1, rate * 1.02)
    # all but the last overshoot of the workers, over the time it took
    assert len(left) / (left[-1] - left[0] + 1 / rate) >= rate * 0.96


@pytest.mark.virtual_time
@pytest.mark.parametrize("rate", [10, 100, 500])
async def test_requests_delayed_by_a_stall_are_made_up_for(rate: float) -> None:
    rate_limiter, loop, chance = RateLimiter(Pace(rate), Stop()), asyncio.get_running_loop(), random.Random(1)
    left: list[float] = []
    stalls = 0.0
    while len(left) < rate * 60:
        await rate_limiter.wait()
        left.append(loop.time())
        if chance.random() < 0.5 / rate:
            loop.stall(seconds := chance.uniform(0.05, 0.4))  # type: ignore[attr-defined]
            stalls += seconds
    assert stalls > 5
    assert most_in_a_second(left) <= rate * 1.02
    # a seventh of the time was stalls, and some of them came before the one before was made up for
    assert len(left) / left[-1] >= rate * 0.95


@pytest.mark.virtual_time
@pytest.mark.parametrize("rate", [100, 500, 2500])
async def test_a_request_delayed_by_a_stall_counts_when_it_leaves(rate: float) -> None:
    rate_limiter, loop, chance = RateLimiter(Pace(rate), Stop()), asyncio.get_running_loop(), random.Random(2)
    left: list[float] = []

    async def worker() -> None:
        while loop.time() < 20:
            slot = await rate_limiter.wait()
            if chance.random() < 0.5 / rate:
                loop.stall(0.4)  # type: ignore[attr-defined]
            assert slot is not None
            rate_limiter.departed([slot])
            left.append(loop.time())

    await asyncio.gather(*(worker() for _ in range(64)))
    assert most_in_a_second(left) <= rate * 1.02
    assert len(left) >= rate * 20 * 0.9


@pytest.mark.virtual_time
async def test_a_low_rate_limits_slow_requests() -> None:
    rate_limiter, loop = RateLimiter(Pace(0.5), Stop()), asyncio.get_running_loop()
    for _ in range(20):
        await rate_limiter.wait()
        await anyio.sleep(1.5)
    assert loop.time() >= 38


@pytest.mark.virtual_time
async def test_an_idle_time_saves_no_slots_up() -> None:
    rate_limiter, loop = RateLimiter(Pace(100), Stop()), asyncio.get_running_loop()
    left = []
    for _ in range(3):
        await anyio.sleep(60)
        for _ in range(150):
            await rate_limiter.wait()
            left.append(loop.time())
    assert most_in_a_second(left) <= 102


@pytest.mark.virtual_time
async def test_a_raised_rate_ends_the_waits_for_the_low_rate() -> None:
    rate_limiter, loop, left = RateLimiter(Pace(100), Stop()), asyncio.get_running_loop(), list[float]()
    loop.call_later(2, rate_limiter.set_pace, Pace(0.01))
    loop.call_later(12, rate_limiter.set_pace, Pace(100))

    async def worker() -> None:
        while loop.time() < 15:
            await rate_limiter.wait()
            left.append(loop.time())

    await asyncio.gather(*(worker() for _ in range(16)))
    assert [moment for moment in left if 2.02 < moment < 11.99] == []
    assert len([moment for moment in left if 12 <= moment < 15]) >= 0.97 * 300
    assert most_in_a_second(left) <= 102


@pytest.mark.virtual_time
async def test_a_new_rate_makes_up_for_no_earlier_slot() -> None:
    """Otherwise a rate that changes often would let a request leave at each change."""
    rate_limiter, loop, left = RateLimiter(Pace(0.05), Stop()), asyncio.get_running_loop(), list[float]()
    for second in range(1, 200, 3):
        loop.call_later(second, rate_limiter.set_pace, Pace(0.05 if second % 2 else 0.04))
    while loop.time() < 200:
        await rate_limiter.wait()
        left.append(loop.time())
    assert len(left) <= 1 + 200 * 0.05


@pytest.mark.virtual_time
@pytest.mark.parametrize("first", [Pace(0), Pace(100)])
async def test_a_rate_of_zero_delays_requests_until_it_is_raised(first: Pace) -> None:
    rate_limiter, loop, left = RateLimiter(first, Stop()), asyncio.get_running_loop(), list[float]()
    loop.call_later(1.003, rate_limiter.set_pace, Pace(0))
    loop.call_later(5000, rate_limiter.set_pace, Pace(10))
    while loop.time() < 5002:
        await rate_limiter.wait()
        left.append(loop.time())
    assert [moment for moment in left if 1.003 < moment < 5000] == []
    assert 0.96 * 20 <= len([moment for moment in left if 5000 <= moment < 5002]) <= 20


@pytest.mark.virtual_time
async def test_a_rate_that_is_lowered_and_raised_again_counts_every_sent_request() -> None:
    rate_limiter, loop, left = RateLimiter(Pace(100), Stop()), asyncio.get_running_loop(), list[float]()
    loop.call_later(1.5, loop.stall, 0.45)  # type: ignore[attr-defined]
    loop.call_later(2.0, rate_limiter.set_pace, Pace(1))
    loop.call_later(2.01, rate_limiter.set_pace, Pace(100))
    loop.call_later(2.02, loop.stall, 0.45)  # type: ignore[attr-defined]
    while loop.time() < 5:
        await rate_limiter.wait()
        left.append(loop.time())
    assert most_in_a_second(left) <= 102


@pytest.mark.virtual_time
@pytest.mark.parametrize(("before", "after_it"), [(100, 80), (3, 3)])
async def test_slots_within_a_pause_are_not_made_up_for(before: int, after_it: int) -> None:
    stop, loop, left = Stop(), asyncio.get_running_loop(), list[float]()
    gate = PauseGate(stop)
    rate_limiter = RateLimiter(Pace(before), stop, gate)

    async def worker() -> None:
        while loop.time() < 8:
            await gate.wait()
            await rate_limiter.wait()
            if not gate.shut:
                left.append(loop.time())

    loop.call_later(2.05, gate.close, 1)
    if after_it != before:
        loop.call_later(2.05, rate_limiter.set_pace, Pace(after_it))
    await asyncio.gather(*(worker() for _ in range(64)))
    after = [moment for moment in left if moment >= 3.05]
    together = 1 + after_it * Pace(after_it).tick
    for count, moment in enumerate(after[:40], 1):
        assert count <= together + (moment - after[0]) * after_it


class IrregularLoop(VirtualLoop):
    """A loop whose clock reads slightly early or late, and so may go backwards. It records its timers."""

    def __init__(self) -> None:
        super().__init__()
        self._chance = random.Random(3)
        self.timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return max(0.0, super().time() + self._chance.choice((-1e-4, -1e-9, 0.0, 1e-9, 1e-4)))

    def call_later(self, delay: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        assert delay > 0
        self.timers.append(super().call_later(delay, *args, **kwargs))
        return self.timers[-1]


@pytest.mark.parametrize("rate", [3, 500, 5000])
def test_an_irregular_clock_does_not_break_the_rate_limit(rate: float) -> None:
    faults: list[object] = []

    async def main() -> list[float]:
        loop, stop, left = asyncio.get_running_loop(), Stop(), list[float]()
        loop.set_exception_handler(lambda _, context: faults.append(context))
        gate = PauseGate(stop)
        rate_limiter = RateLimiter(Pace(rate), stop, gate)
        loop.call_later(2, gate.close, 1)

        async def worker() -> None:
            while loop.time() < 6:
                await gate.wait()
                if await rate_limiter.wait() is not None:
                    left.append(loop.time())

        await asyncio.gather(*(worker() for _ in range(64)))
        return sorted(left)

    with asyncio.Runner(loop_factory=IrregularLoop) as runner:
        left = runner.run(main())
    assert faults == []
    assert most_in_a_second(left) <= max(1, rate * 1.02)
    assert len(left) >= rate * 5 * 0.9


def test_all_waiting_requests_share_one_timer() -> None:
    async def main(loop: IrregularLoop) -> None:
        rate_limiter = RateLimiter(Pace(100), Stop())
        waiting = [asyncio.create_task(rate_limiter.wait()) for _ in range(500)]
        await asyncio.sleep(2)
        assert sum(not timer.cancelled() and timer.when() > loop.time() for timer in loop.timers) == 1
        await asyncio.gather(*waiting)
        assert len(loop.timers) <= 2 * 500 / 2 + 2

    with asyncio.Runner(loop_factory=IrregularLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, IrregularLoop)
        runner.run(main(loop))


@pytest.mark.virtual_time
async def test_a_probe_passes_the_waiting_requests() -> None:
    rate_limiter, loop = RateLimiter(Pace(1), Stop()), asyncio.get_running_loop()
    await rate_limiter.wait()
    waiting = [asyncio.create_task(rate_limiter.wait()) for _ in range(50)]
    await asyncio.sleep(0.1)
    assert await rate_limiter.wait(probing=True) is not None
    assert loop.time() < 1.1
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()


@pytest.mark.virtual_time
async def test_a_pause_returns_waiting_requests_at_once_and_the_probe_waits() -> None:
    stop, loop = Stop(), asyncio.get_running_loop()
    gate = PauseGate(stop)
    rate_limiter = RateLimiter(Pace(0.1), stop, gate)
    await rate_limiter.wait()
    loop.call_later(1, gate.pause, BREAKER)
    slots = await asyncio.gather(*(rate_limiter.wait() for _ in range(5)))
    assert slots == [None] * 5
    assert loop.time() == pytest.approx(1, abs=0.01)
    assert await rate_limiter.wait(probing=True) is not None
    assert loop.time() == pytest.approx(10, abs=0.1)


@pytest.mark.virtual_time
async def test_a_cancelled_wait_wastes_no_slot() -> None:
    rate_limiter, loop = RateLimiter(Pace(1), Stop()), asyncio.get_running_loop()
    await rate_limiter.wait()
    given_up, waiting = (asyncio.create_task(rate_limiter.wait()) for _ in range(2))
    await asyncio.sleep(0.5)
    given_up.cancel()
    assert await waiting is not None
    assert loop.time() == pytest.approx(1, abs=0.02)


@pytest.mark.virtual_time
async def test_a_pause_blocks_every_request_and_the_longer_one_counts() -> None:
    gate, loop = PauseGate(Stop()), asyncio.get_running_loop()
    gate.close(30)
    gate.close(10)
    await asyncio.gather(*(gate.wait() for _ in range(5)))
    assert loop.time() == pytest.approx(30, abs=0.01)


@pytest.mark.virtual_time
async def test_a_pause_can_be_extended() -> None:
    gate, loop = PauseGate(Stop()), asyncio.get_running_loop()
    gate.close(10)
    loop.call_later(5, gate.close, 20)
    await gate.wait()
    assert loop.time() == pytest.approx(25, abs=0.01)


@pytest.mark.virtual_time
async def test_a_stop_wakes_every_waiting_worker() -> None:
    stop, loop = Stop(), asyncio.get_running_loop()
    gate, rate_limiter = PauseGate(stop), RateLimiter(Pace(0.001), stop)
    gate.close(3600)
    await rate_limiter.wait()
    loop.call_later(1, stop.request, Exit.STOPPED, "enough")
    _, slot, _ = await asyncio.gather(gate.wait(), rate_limiter.wait(), stop.sleep(3600))
    assert slot is None
    assert loop.time() == pytest.approx(1, abs=0.01)
    await asyncio.gather(gate.wait(), rate_limiter.wait(), stop.sleep(3600))
    assert loop.time() == pytest.approx(1, abs=0.01)


def test_the_first_stop_gives_the_reason() -> None:
    stop = Stop()
    stop.request(Exit.STOPPED, "first")
    stop.request(Exit.INTERRUPTED, "second")
    assert (stop.exit, stop.reason) == (Exit.STOPPED, "first")


def test_retries_are_earned_by_successes() -> None:
    budget = RetryBudget(rate=10, reserve=3)
    assert [budget.spend(0) for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])
    budget.earn()
    assert budget.spend(0) == pytest.approx(0.2)
    assert budget.spend(100) == 0


def test_a_clock_that_goes_backwards_uses_up_no_retry() -> None:
    budget = RetryBudget(rate=10, reserve=1)
    assert [budget.spend(now) for now in (5.0, 4.0)] == pytest.approx([0, 0.1])


@pytest.mark.virtual_time
async def test_a_sleep_of_negative_seconds_returns_at_once() -> None:
    await Stop().sleep(-1e-9)
    assert asyncio.get_running_loop().time() < 0.01


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30),
        ("Monday, 23-Nov-26 12:00:30 GMT", 30),
        ("Mon Nov 23 12:00:30 2026", 30),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("-1", None),
        ("12.25", 12.25),
        ("9" * 30, LONGEST_PAUSE),
        ("9" * 5000, LONGEST_PAUSE),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_PAUSE),
        ("1e999", None),
        ("inf", None),
        ("1 Jan 2024 00:00:00 +99999999999999", None),
        ("1 Jan 99999999999999999999 00:00:00", None),
        ("Mon, ,,,", None),
        ("soon", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_parsed(header: str, seconds: float | None) -> None:
    assert pause_seconds(header, NOON) == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Mon, 23 Nov 2026 13:00:20 GMT", 10),
        ("Mon, 23 Nov 2026 14:00:00 GMT", 0),
        (None, 3630),
        ("", 3630),
        ("1 Jan 2024 00:00:00 +99999999999999", 3630),
    ],
)
def test_a_retry_after_date_counts_from_the_date_of_the_response(date: str | None, seconds: float) -> None:
    assert pause_seconds("Mon, 23 Nov 2026 13:00:30 GMT", NOON, date) == seconds
    assert pause_seconds("7", NOON, date) == 7


@given(st.text() | st.from_regex(r"[0-9]{1,4} ?[A-Z][a-z]{2} [0-9]+ [0-9:]+ [+-][0-9]+"), st.text())
def test_any_header_is_a_pause_or_none(header: str, date: str) -> None:
    seconds = pause_seconds(header, NOON, date)
    assert seconds is None or 0 <= seconds <= LONGEST_PAUSE
