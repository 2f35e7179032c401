"""The mechanism of adaptive limits: attempts wait for a free place and are measured.

`policies/adaptive.py` computes the limits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf, sqrt

from engager.altcraft.classification import Meaning, Verdict
from engager.models import SENDER_LOST
from engager.policies.adaptive import Adaptive, AimdSettings, Reading
from engager.policies.rate import Pace
from engager.sending.attempt import Attempt, AttemptCall
from engager.sending.clock import running_clock
from engager.sending.limits import RateLimiter


class ConcurrencyLimiter:
    """At most `limit` attempts in flight; the others wait in line."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._taken = 0
        self._line: deque[asyncio.Future[None]] = deque()

    def try_acquire(self) -> bool:
        """Acquire a place if one is free: no await, no object."""
        if self._taken >= self._limit:
            return False
        self._taken += 1
        return True

    async def acquire(self) -> None:
        """Acquire a place as soon as one is free.

        A stop need not wake the line: each attempt in flight that ends admits the next one.
        """
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """An attempt ended: its place goes to the first in line."""
        self._taken -= 1
        self._admit()

    def release_after(self, seconds: float) -> None:
        """An attempt failed: release its place later, so that quick errors do not cause more attempts."""
        if seconds > 0:
            asyncio.get_running_loop().call_later(seconds, self.release)
        else:
            self.release()

    def set_limit(self, limit: float) -> None:
        """Set the limit; attempts in flight continue."""
        self._limit = limit
        self._admit()

    def _admit(self) -> None:
        while self._line and self._taken < self._limit:
            turn = self._line.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)


class SampleWindow:
    """Adds up the attempts of a window.

    A window opens when the first attempt ends that left under the present limits: earlier ends show former
    limits.
    """

    def __init__(self) -> None:
        self._changed = 0.0
        self._opened: float | None = None
        self.clear()

    def clear(self) -> None:
        """Count from nothing."""
        self._done = self._taken = self._refused = self._failed = 0
        self._busy = self._latency = self._squares = 0.0

    def reopen(self, now: float, changed: bool) -> None:
        """Begin the next window; `changed`: under other limits."""
        self.clear()
        self._opened = None if changed else now
        if changed:
            self._changed = now

    def add(self, left: float, now: float, verdict: Verdict) -> None:
        """Count an attempt that ended."""
        if verdict.meaning is not Meaning.ACCEPTED and verdict.is_limit:
            self._refused += left >= self._changed
        elif self._opened is None:
            self._opened = now if left >= self._changed else None
        else:
            self._count(now - left, verdict.meaning)

    def _count(self, seconds: float, meaning: Meaning) -> None:
        self._done += 1
        self._busy += seconds
        if meaning is Meaning.ACCEPTED:
            self._taken += 1
            self._latency += seconds
            self._squares += seconds * seconds
        elif meaning is not Meaning.REJECTED:
            self._failed += 1

    def reading(self, now: float, samples: int, window: float) -> Reading | None:
        """The reading of the window, once it has enough samples; a rejection is enough at once."""
        if self._refused:
            return self._read(0.0)
        if self._opened is None or (self._taken < samples and self._done < 2 * samples):
            return None
        seconds = now - self._opened
        return self._read(seconds) if seconds >= max(window, self._busy / self._done) else None

    def _read(self, seconds: float) -> Reading:
        taken = max(1, self._taken)
        mean = self._latency / taken
        error = sqrt(max(0.0, self._squares / taken - mean**2) / taken)
        done, busy = self._done, self._busy
        return Reading(seconds, done, busy, self._taken, mean, error, self._failed, self._refused)


class AdaptiveController:
    """Sets the limits by what the attempts show."""

    def __init__(self, adaptive: Adaptive, limiter: ConcurrencyLimiter, rate_limiter: RateLimiter) -> None:
        self._window_of_samples = SampleWindow()
        self._limits: list[_Limit] = []
        if adaptive.concurrency:
            self._limits.append(_Limit(adaptive.concurrency, lambda value: limiter.set_limit(int(value))))
        if adaptive.rate:
            self._limits.append(
                _Limit(adaptive.rate, lambda value: rate_limiter.set_pace(Pace(value, even=True)))
            )
        climb = self._limits[0].settings
        self._samples, self._window = climb.samples, climb.window
        self.usual_latency = 0.0  #: seconds, of recent successes

    def observe(self, left: float, now: float, verdict: Verdict) -> None:
        """Count an attempt that ended, and set the limits when the samples suffice."""
        self._window_of_samples.add(left, now, verdict)
        reading = self._window_of_samples.reading(now, self._samples, self._window)
        if reading is not None:
            self.usual_latency = reading.latency or self.usual_latency
            moved = [knob.update(reading) for knob in self._limits]
            self._window_of_samples.reopen(now, any(moved))


class _Limit:
    """One limit: its settings, its level, and the function that sets it."""

    def __init__(self, settings: AimdSettings, move: Callable[[float], None]) -> None:
        self.settings = settings
        self.level = settings.begin()
        self._move = move
        move(self.level.value)

    def update(self, reading: Reading) -> bool:
        before, self.level = self.level, self.settings.next(self.level, reading)
        if self.level.value == before.value:
            return False
        self._move(self.level.value)
        return True


def _of_request(verdict: Verdict) -> Verdict:
    """What an attempt shows: of a batch the limit that one of its rows met, or that none was processed."""
    if not verdict.rows:
        return verdict
    rows = [*{id(row): row for row in verdict.rows}.values()]  # most rows share one verdict
    refused = (row for row in rows if row.is_limit and row.meaning is not Meaning.ACCEPTED)
    processed = any(row.meaning in (Meaning.ACCEPTED, Meaning.REJECTED) for row in rows)
    return next(refused, verdict if processed else rows[0])


def with_adaptive_limit(adaptive: Adaptive, rate_limiter: RateLimiter, call: AttemptCall) -> AttemptCall:
    """Find the limits that the job leaves open; without any, the attempt as it is."""
    if not (adaptive.concurrency or adaptive.rate):
        return call
    limiter = ConcurrencyLimiter(inf)
    controller = AdaptiveController(adaptive, limiter, rate_limiter)
    time = running_clock()

    async def attempt_within_limit(attempt: Attempt) -> Verdict:
        if not limiter.try_acquire():
            await limiter.acquire()
        try:
            verdict = await call(attempt)
        except BaseException:
            limiter.release()
            raise
        now, shown = time(), _of_request(verdict)
        left = now if attempt.due is None else attempt.due
        if shown.meaning is not Meaning.NOT_SENT and shown.error != SENDER_LOST:
            controller.observe(left, now, shown)
        if shown.meaning is Meaning.ACCEPTED or shown.meaning is Meaning.NOT_SENT:
            limiter.release()
        else:
            limiter.release_after(controller.usual_latency - (now - left))
        return verdict

    return attempt_within_limit
