"""The rate limit and the retry budget of a run, and all that its attempts wait for together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, inf
from typing import Final

from aiolimiter import AsyncLimiter

from engager.policies.rate import Pace
from engager.sending.clock import running_clock
from engager.sending.pause import PauseGate
from engager.sending.stop import Stop

#: Seconds by which a request may leave after its slot; the rate limit has more than that in reserve.
_PUNCTUAL: Final = 0.005


@dataclass(slots=True, eq=False)
class Slot:
    """The right of one request to leave."""

    at: float  #: running clock: when it was given; once its request has left, when it left


class _Bucket(AsyncLimiter):
    """A leaky bucket that says how long to wait. Its own `acquire` spins on a clock of whole milliseconds."""

    def __init__(self, depth: float, leak: float, room: float) -> None:
        """Make a bucket that has room for so much at once."""
        super().__init__(depth, depth / leak)
        self._leak()
        self._level = depth - room

    @property
    def wait(self) -> float:
        """Seconds until it can take one."""
        return 0.0 if self.has_capacity() else (self._level + 1 - self.max_rate) / self._rate_per_sec

    def fill(self, amount: float = 1) -> None:
        """Add to the bucket, where there is room; a negative amount gives back."""
        self._level = max(0.0, self._level + amount)


@dataclass(slots=True, eq=False)
class _Waiter:
    """One request in the queue of the rate limiter."""

    turn: asyncio.Future[Slot | None]
    probing: bool
    paid: bool  #: it had a slot that it could not use in time: the long run has counted it


_FREE = Pace(1.0)


class RateLimiter:
    """Gives slots at the rate, in the order in which requests come.

    Three bounds: a leaky bucket for the long run, which starts full so that there is no burst at the start,
    and is deep enough to make up for a stall of the machine; a shallow bucket, so that making up is no burst;
    and the departures of the last second, which no making up may exceed. All waiting requests share a timer.
    """

    def __init__(self, pace: Pace | None, stop: Stop, gate: PauseGate | None = None) -> None:
        self.free = pace is None  #: there is no rate limit
        self._pace = pace or _FREE
        self._stop = stop
        self._gate = gate
        self._loop, self._now = asyncio.get_running_loop(), running_clock()
        self._long_run: _Bucket | None = None
        self._spread: _Bucket | None = None
        self._left: deque[Slot] = deque(maxlen=self._pace.per_second)
        self._queue: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        stop.on_request(self._serve)
        if gate is not None:
            gate.on_change(self._serve)

    @property
    def pace(self) -> Pace | None:
        """The present pace; None without a rate limit."""
        return None if self.free else self._pace

    def set_pace(self, pace: Pace) -> None:
        """Set the pace, also for waiting requests; the last second's departures stay counted."""
        self.free = False
        self._pace, self._long_run = pace, None
        # Never shorter: a rate that is lowered and raised again must not forget what had left.
        self._left = deque(self._left, maxlen=max(pace.per_second, self._left.maxlen or 0))
        self._serve()

    async def wait(self, slot: Slot | None = None, probing: bool = False) -> Slot | None:
        """Wait for a slot; a slot that was given before and not used in time is exchanged for another one.

        Returns None when the run stops or the gate is shut: a request that waited here would block all after
        it, and any of them may be the probe. A probe does not queue.
        """
        now = self._now()
        if slot is not None and now - slot.at < _PUNCTUAL:
            return slot
        paid = slot is not None
        if slot is not None:
            self._exchange(slot, now)
        if self._is_turned_away(probing):
            return None
        if not self._queue and self._wait(now, paid) <= 0:
            return self._give(now, paid)
        waiter = _Waiter(self._loop.create_future(), probing, paid)
        if probing or paid:
            self._queue.appendleft(waiter)
        else:
            self._queue.append(waiter)
        if self._queue[0] is waiter:
            self._serve()
        return await waiter.turn

    def departed(self, slots: Iterable[Slot]) -> None:
        """Count the requests of these slots as leaving now, however late that is."""
        now = self._now()
        for slot in slots:
            if now - slot.at >= _PUNCTUAL:
                self._forget(slot)
                self._left.append(slot)
            slot.at = now

    def _exchange(self, slot: Slot, now: float) -> None:
        self._forget(slot)
        if self._spread is not None:  # the part that has not leaked yet
            self._spread.fill(min(0.0, (now - slot.at) * self._pace.peak - 1))

    def _forget(self, slot: Slot) -> None:
        # From the end: what leaves late was let through a moment ago.
        for index, other in enumerate(reversed(self._left), 1):
            if other is slot:
                del self._left[-index]
                return

    def _is_turned_away(self, probing: bool) -> bool:
        return self._stop.requested or (self._gate is not None and self._gate.blocks(probing))

    def _serve(self) -> None:
        """Serve, in order, all that are due, and set the timer for the first that is not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._turn_away()
        while self._queue:
            waiter, now = self._queue[0], self._now()
            if not waiter.turn.done() and (wait := self._wait(now, waiter.paid)) > 0:
                if wait < inf:
                    rest = _whole_milliseconds(max(wait, self._pace.tick))
                    self._timer = self._loop.call_later(rest, self._serve)
                return
            self._queue.popleft()
            if not waiter.turn.done():
                waiter.turn.set_result(self._give(now, waiter.paid))

    def _turn_away(self) -> None:
        """Refuse the requests that may not leave at all; a pause saves nothing up."""
        if not (self._stop.requested or (self._gate is not None and self._gate.shut)):
            return
        for waiter in [waiter for waiter in self._queue if self._is_turned_away(waiter.probing)]:
            self._queue.remove(waiter)
            if not waiter.turn.done():
                waiter.turn.set_result(None)
            self._long_run = None

    def _wait(self, now: float, paid: bool) -> float:
        """Seconds until the next one may leave."""
        pace, left = self._pace, self._left
        most = pace.per_second
        if not most:
            return inf
        full = left[-most].at + pace.second - now if len(left) >= most else 0.0
        if self._long_run is None or (left and now - left[-1].at > pace.silence):
            if full > 0:
                return full  # with a bucket, it would save up meanwhile
            self._fill(now)
        assert self._long_run is not None and self._spread is not None  # noqa: S101, PT018 - just filled
        return max(0.0, full, self._spread.wait, 0.0 if paid else self._long_run.wait)

    def _fill(self, now: float) -> None:
        """Make buckets from which the next request leaves in time after the last departure."""
        pace = self._pace
        since = max(0.0, now - self._left[-1].at) if self._left else inf
        self._long_run = _Bucket(pace.depth, pace.leak, min(1.0, since * pace.leak))
        self._spread = _Bucket(pace.burst, pace.peak, 1.0)

    def _give(self, now: float, paid: bool) -> Slot:
        assert self._long_run is not None and self._spread is not None  # noqa: S101, PT018 - `_wait` saw to it
        self._spread.fill()
        if not paid:
            self._long_run.fill()
        slot = Slot(now)
        self._left.append(slot)
        return slot


def _whole_milliseconds(seconds: float) -> float:
    """At least one: a loop that counts whole milliseconds would spin otherwise."""
    return max(1, ceil(seconds * 1000)) / 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that all attempts of a process share."""

    stop: Stop
    gate: PauseGate
    rate_limiter: RateLimiter

    @classmethod
    def create(cls, stop: Stop, pace: Pace | None, notify: Callable[[float], None] | None = None) -> Limits:
        """Create the limits of one process, inside its running loop."""
        gate = PauseGate(stop, notify)
        return cls(stop, gate, RateLimiter(pace, stop, gate))

    def pause(self, holder: str) -> None:
        """Pause until this holder and all others resume."""
        self.gate.pause(holder)

    def resume(self, holder: str) -> None:
        """End the pause of this holder."""
        self.gate.resume(holder)

    def set_rate(self, rate: float) -> None:
        """Set the requests per second."""
        self.rate_limiter.set_pace(Pace(rate))


class RetryBudget:
    """Retries are earned by successes, so that an outage does not multiply the load.

    A retry costs one; an engaged row earns one; a fixed rate is always allowed. A retry that finds it empty
    waits: no row loses an attempt to it.
    """

    def __init__(self, rate: float, reserve: float) -> None:
        self._rate = rate
        self._reserve = self._tokens = reserve
        self._at: float | None = None

    def earn(self) -> None:
        """A row was engaged."""
        self._tokens = min(self._reserve, self._tokens + 1)

    def spend(self, now: float) -> float:
        """Spend one retry; returns the seconds after which it may be used."""
        elapsed = max(0.0, now - self._at) if self._at is not None else 0.0
        self._at = now
        self._tokens = min(self._reserve, self._tokens + elapsed * self._rate) - 1
        return max(0.0, -self._tokens / self._rate)
