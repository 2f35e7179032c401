"""The mechanisms that wait: pause, rate limit, retry budget; and the stop."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import ceil, inf
from typing import Final

import anyio
from aiolimiter import AsyncLimiter

from engager.errors import Exit
from engager.policies.rate import Pace
from engager.sending.clock import running_clock

#: Seconds by which a request may leave after its slot; the rate limit has more than that in reserve.
_PUNCTUAL: Final = 0.005


class Stop:
    """The request to end the run: every wait ends, and no request starts."""

    def __init__(self) -> None:
        self.exit: Exit | None = None
        self.reason = ""
        self._waiting: set[anyio.CancelScope] = set()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether the run is to end."""
        return self.exit is not None

    def request(self, exit_code: Exit, reason: str) -> None:
        """Ask the run to end; the first reason counts."""
        if self.requested:
            return
        self.exit, self.reason = exit_code, reason
        for scope in self._waiting:
            scope.cancel()
        for callback in self._callbacks:
            callback()

    def on_request(self, callback: Callable[[], None]) -> None:
        """Call this when the stop is requested."""
        self._callbacks.append(callback)

    @contextmanager
    def cancels(self) -> Iterator[None]:
        """A context whose waits end at a stop, without an error."""
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
        with self.cancels():
            await anyio.sleep_forever()

    async def sleep(self, seconds: float) -> None:
        """Sleep for so long, or until the stop."""
        with self.cancels():
            await anyio.sleep(max(0.0, seconds))


#: The holder of the pause while the circuit breaker is open.
BREAKER = "breaker"


class PauseGate:
    """The pause of the run: its holders, and the time that the endpoint asked for."""

    def __init__(self, stop: Stop, notify: Callable[[float], None] | None = None) -> None:
        self._stop = stop
        self._notify = notify  #: called when a pause begins here, with the loop time at which it ends
        self._paused = self._until = 0.0
        self._holders: set[str] = set()
        self._probe_allowed = False
        self._moved = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call this whenever a pause begins, moves or ends before its time."""
        self._callbacks.append(callback)

    @property
    def shut(self) -> bool:
        """Whether requests have to wait. A stop opens it: admission withholds the request then."""
        until = self._until
        return until > 0 and until > asyncio.get_running_loop().time() and not self._stop.requested

    def close(self, seconds: float) -> None:
        """Pause for so many seconds; of two pauses the one that ends later counts."""
        until = asyncio.get_running_loop().time() + seconds
        if self.close_until(until) and self._notify is not None:
            self._notify(until)

    def close_until(self, until: float) -> bool:
        """Pause until this loop time; returns whether that is later than before."""
        later = until > self._paused
        self._paused = max(self._paused, until)
        self._reckon()
        return later

    def pause(self, holder: str) -> None:
        """Pause until this holder and all others resume."""
        self._holders.add(holder)
        if holder == BREAKER:
            self._probe_allowed = False
        self._reckon()

    def resume(self, holder: str) -> None:
        """End the pause of this holder."""
        self._holders.discard(holder)
        self._reckon()

    def allow_probe(self) -> None:
        """Admit one request although the circuit breaker is open: the probe."""
        self._probe_allowed = BREAKER in self._holders
        self._reckon()

    @property
    def paused_for(self) -> float:
        """Seconds that remain of the pause that the endpoint asked for."""
        return max(0.0, self._paused - asyncio.get_running_loop().time())

    @property
    def holders(self) -> frozenset[str]:
        """The holders of the pause."""
        return frozenset(self._holders)

    def _reckon(self) -> None:
        self._until = inf if self._holders else self._paused
        self._moved.set()  # every waiting request checks again
        self._moved = asyncio.Event()
        for callback in self._callbacks:
            callback()

    async def wait(self, probing: bool = False) -> bool:
        """Wait until it is open, or the run stops; returns whether the request is a probe.

        The circuit breaker does not block a request that is a probe already; other holders do.
        """
        while self.shut:
            if (probing or self._probe_allowed) and not self.blocks(probing=True):
                self._probe_allowed = self._probe_allowed and probing
                return True
            await self._moves()
        return probing

    def blocks(self, probing: bool) -> bool:
        """Whether a request that has passed, as a probe or not, has to wait after all."""
        return self.shut and not (probing and self._holders == {BREAKER} and not self._is_paused())

    def _is_paused(self) -> bool:
        return self._paused > asyncio.get_running_loop().time()

    async def _moves(self) -> None:
        """Wait until the pause may have changed."""
        now = asyncio.get_running_loop().time()
        until = self._paused if self._paused > now else self._until
        with self._stop.cancels(), anyio.move_on_after(max(0.0, until - now)):
            await self._moved.wait()


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


#: Seconds; no requested pause is longer, whatever the header says.
LONGEST_PAUSE: Final = 366 * 86_400.0

#: RFC 9110 knows whole seconds only; some gateways write a fraction.
_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]*)?")


def pause_seconds(retry_after: str, now: float, date: str | None = None) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds or a date; None when it is neither.

    `date` is the Date header of the same response, if it has one: the clock by which a date counts. Otherwise
    it counts by `now`, in seconds since the epoch.
    """
    text = retry_after.strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    elif (until := _moment(text)) is not None:
        written = _moment(date) if date else None
        seconds = until - (now if written is None else written)
    else:
        return None
    return min(max(0.0, seconds), LONGEST_PAUSE)


def _moment(text: str) -> float | None:
    """A date of HTTP in seconds since the epoch; None for any other text."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except Exception:  # the library raises more than it names, and these are foreign bytes
        return None
