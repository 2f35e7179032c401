"""The mechanisms that wait: for a pause to end, for the pace, for the retry budget; and the stop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf
from typing import Final

import anyio
from aiolimiter import AsyncLimiter

from engager.dispatch.clock import running_clock
from engager.errors import Exit
from engager.policy import Pace

#: Seconds by which a request may leave after its slot; the pace keeps more than that in reserve.
_PUNCTUAL: Final = 0.005


class Stop:
    """The run's wish to end: everybody who waits is woken, nobody begins anything new."""

    def __init__(self) -> None:
        self.exit: Exit | None = None
        self.reason = ""
        self._waiting: set[anyio.CancelScope] = set()

    @property
    def requested(self) -> bool:
        """Whether the run is to end."""
        return self.exit is not None

    def request(self, exit_code: Exit, reason: str) -> None:
        """Ask the run to end; the first to ask is the one who is quoted."""
        if self.requested:
            return
        self.exit, self.reason = exit_code, reason
        for scope in self._waiting:
            scope.cancel()

    @contextmanager
    def cuts_short(self) -> Iterator[None]:
        """Wait inside of this: a stop ends the wait, quietly."""
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                if not self.requested:
                    yield
                else:
                    scope.cancel()
                    yield
            finally:
                self._waiting.discard(scope)

    async def wait(self) -> None:
        """Wait for the stop."""
        with self.cuts_short():
            await anyio.sleep_forever()

    async def sleep(self, seconds: float) -> None:
        """Sleep for so long, or until the stop."""
        with self.cuts_short():
            await anyio.sleep(seconds)


#: The holder of the pause while nobody is there to answer.
BREAKER = "breaker"


class Gate:
    """One pause for everybody."""

    def __init__(self, stop: Stop, tell: Callable[[float], None] | None = None) -> None:
        self._stop = stop
        self._tell = tell  #: told when a pause begins here: until when, in loop time
        self._paused = self._until = 0.0
        self._holders: set[str] = set()
        self._one_may = False
        self._moved = asyncio.Event()

    @property
    def shut(self) -> bool:
        """Whether anybody has to wait. A stop opens it: who passes then is held back further on."""
        until = self._until
        return until > 0 and until > asyncio.get_running_loop().time() and not self._stop.requested

    @property
    def stopped(self) -> bool:
        """Whether the run is to end, and so nothing leaves any more."""
        return self._stop.requested

    def close(self, seconds: float) -> None:
        """Nothing leaves for so long; of two pauses the one that ends later counts."""
        until = asyncio.get_running_loop().time() + seconds
        if self.close_until(until) and self._tell is not None:
            self._tell(until)

    def close_until(self, until: float) -> bool:
        """Nothing leaves before this loop time; returns whether that is later than was known."""
        later = until > self._paused
        self._paused = max(self._paused, until)
        self._reckon()
        return later

    def hold(self, holder: str) -> None:
        """Nothing leaves until this holder, and all others, release it."""
        self._holders.add(holder)
        if holder == BREAKER:
            self._one_may = False
        self._reckon()

    def release(self, holder: str) -> None:
        """Let this holder have nothing against going on."""
        self._holders.discard(holder)
        self._reckon()

    def let_one_through(self) -> None:
        """One may pass although the breaker holds it shut: to see whether the endpoint is up again."""
        self._one_may = BREAKER in self._holders
        self._reckon()

    @property
    def paused_for(self) -> float:
        """Seconds that are left of a pause that was asked for."""
        return max(0.0, self._paused - asyncio.get_running_loop().time())

    @property
    def holders(self) -> frozenset[str]:
        """Who holds it shut."""
        return frozenset(self._holders)

    def _reckon(self) -> None:
        self._until = inf if self._holders else self._paused
        self._moved.set()  # who waits looks again
        self._moved = asyncio.Event()

    async def passes(self, probing: bool = False) -> bool:
        """Wait until it is open, or the run stops; returns whether it was passed as a probe.

        Who probes already is not held by the breaker, but by everybody else.
        """
        while self.shut:
            if (probing or self._one_may) and not self.bars(probing=True):
                self._one_may = self._one_may and probing
                return True
            await self._moves()
        return probing

    def bars(self, probing: bool) -> bool:
        """Whether somebody who has passed, as a probe or not, has to wait after all."""
        return self.shut and not (probing and self._holders == {BREAKER} and not self._is_paused())

    def _is_paused(self) -> bool:
        return self._paused > asyncio.get_running_loop().time()

    async def _moves(self) -> None:
        """Wait until there is reason to look again."""
        until = self._paused if self._is_paused() else self._until
        with self._stop.cuts_short(), anyio.move_on_after(until - asyncio.get_running_loop().time()):
            await self._moved.wait()


_FREE = Pace(1.0)


class Pacer:
    """Lets requests through at the pace, in the order in which they came.

    Two bounds in series: a leaky bucket for the long run, which starts full so that nothing rushes
    out at the start, and is deep enough to make up for a stall of the machine; and the last second's
    departures, which no making up may exceed.
    """

    def __init__(self, pace: Pace | None, stop: Stop, gate: Gate | None = None) -> None:
        self.free = pace is None  #: nobody has to wait
        self._pace = pace or _FREE
        self._stop = stop
        self._gate = gate
        self._turn = asyncio.Lock()
        self._bucket: AsyncLimiter | None = None
        self._most = self._pace.a_second
        self._left: deque[float] = deque(maxlen=self._most)
        self._waiting: set[anyio.CancelScope] = set()  #: for the present pace to let them leave
        self._now = running_clock()

    def move(self, pace: Pace) -> None:
        """From now on another pace, also for who waits; the last second's departures stay counted."""
        self.free = False
        self._pace, self._most, self._bucket = pace, pace.a_second, None
        # Never shorter: a rate that is lowered and raised again must not forget what had left.
        self._left = deque(self._left, maxlen=max(self._most, self._left.maxlen or 0))
        for scope in self._waiting:
            scope.cancel()

    async def passes(self, slot: float | None = None, probing: bool = False) -> float:
        """Wait for a slot, or until the run stops; with a slot that was not used in time, move it to now.

        Returns the loop time of the slot; of none, when the gate was shut by the time that it came.
        A probe does not queue.
        """
        with self._stop.cuts_short():
            if slot is not None:
                return await self._moved(slot, probing)
            if probing:
                return await self._next(probing)
            async with self._turn:
                return await self._next(probing)
        return self._now()

    def _is_barred(self, probing: bool) -> bool:
        return self._gate is not None and self._gate.bars(probing)

    async def _next(self, probing: bool) -> float:
        # A slot that is taken while nothing may leave would be made up for in a burst, and who waits here
        # would keep all behind from the gate, where any of them may be the probe.
        while not self._is_barred(probing):
            bucket = self._bucket
            if bucket is None or (self._left and self._now() - self._left[-1] > self._pace.silence):
                if not self._has_place():
                    await self._waited(None)  # with a bucket, it would save up meanwhile
                    continue
                bucket = self._bucket = await self._filled()
            if bucket.has_capacity() and self._has_place():
                await bucket.acquire()
                return self._place()
            if await self._waited(bucket):
                break
        return self._place_in_time(probing)

    async def _waited(self, bucket: AsyncLimiter | None) -> bool:
        """Wait for a bucket and a place; returns whether the pace was not moved meanwhile."""
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                if bucket is not None:
                    await bucket.acquire()
                while not self._has_place():  # noqa: ASYNC110
                    await anyio.sleep(self._left[-self._most] + 1 - self._now() if self._most else inf)
            finally:
                self._waiting.discard(scope)
        return not scope.cancelled_caught

    async def _filled(self) -> AsyncLimiter:
        """A bucket from which the next one leaves when the pace has it, counted from the last departure."""
        pace = self._pace
        since = self._now() - self._left[-1] if self._left else inf
        bucket = AsyncLimiter(pace.depth, pace.period)
        await bucket.acquire(pace.depth - min(1.0, since * pace.leak))
        return bucket

    async def _moved(self, slot: float, probing: bool) -> float:
        if self._now() - slot < _PUNCTUAL:
            return slot
        with suppress(ValueError):
            self._left.remove(slot)
        while not await self._waited(None):
            pass
        return self._place_in_time(probing)

    def _has_place(self) -> bool:
        """Whether the last second's departures leave room for one more."""
        return len(self._left) < self._most or (self._most > 0 and self._left[-self._most] + 1 <= self._now())

    def _place_in_time(self, probing: bool) -> float:
        """Take the next place, unless a pause overtook it."""
        return self._now() if self._is_barred(probing) else self._place()

    def _place(self) -> float:
        slot = self._now()
        self._left.append(slot)
        return slot


@dataclass(frozen=True, slots=True)
class Limits:
    """What all tries of a process obey in common."""

    stop: Stop
    gate: Gate
    pacer: Pacer

    @classmethod
    def of(cls, stop: Stop, pace: Pace | None, tell: Callable[[float], None] | None = None) -> Limits:
        """The limits of one process, inside its running loop."""
        gate = Gate(stop, tell)
        return cls(stop, gate, Pacer(pace, stop, gate))

    def hold(self, holder: str) -> None:
        """Let nothing leave until this holder and all others release it."""
        self.gate.hold(holder)

    def release(self, holder: str) -> None:
        """Let this holder have nothing against going on."""
        self.gate.release(holder)

    def set_rate(self, rate: float) -> None:
        """From now on so many requests a second."""
        self.pacer.move(Pace(rate))


class RetryBudget:
    """Retries are earned by successes, so that an outage does not multiply the load.

    A retry costs one; a row that was engaged earns one; a fixed trickle is always allowed. Who finds
    it empty waits: no row loses a try to it.
    """

    def __init__(self, rate: float, reserve: float) -> None:
        self._rate = rate
        self._reserve = self._tokens = reserve
        self._at: float | None = None

    def earn(self) -> None:
        """A row was engaged."""
        self._tokens = min(self._reserve, self._tokens + 1)

    def spend(self, now: float) -> float:
        """Take one retry; returns the seconds after which it may be used."""
        elapsed = now - self._at if self._at is not None else 0.0
        self._at = now
        self._tokens = min(self._reserve, self._tokens + elapsed * self._rate) - 1
        return max(0.0, -self._tokens / self._rate)


def pause_seconds(retry_after: str, now: float) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds or a date; None when it is neither.

    `now` is in seconds since the epoch.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now, UTC)).total_seconds())
