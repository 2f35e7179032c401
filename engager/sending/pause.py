"""The pause of a run: no request leaves while it has a holder, or before a time that the endpoint set."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import inf
from typing import Final

import anyio

from engager.sending.stop import Stop

#: Seconds; no requested pause is longer, whatever the header says.
LONGEST_PAUSE: Final = 366 * 86_400.0

#: RFC 9110 knows whole seconds only; some gateways write a fraction.
_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]*)?")

#: The holder of the pause while the circuit breaker is open.
BREAKER = "breaker"


class PauseGate:
    """The pause of the run: its holders, and the time that the endpoint asked for."""

    def __init__(self, stop: Stop, notify: Callable[[float], None] | None = None) -> None:
        self._stop = stop
        self._notify = notify  #: called when a pause begins here, with the loop time at which it ends
        self._paused = self._until = 0.0
        self._holders: dict[str, str] = {}  #: each with its reason, where it has one
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

    def pause(self, holder: str, why: str = "") -> None:
        """Pause until this holder and all others resume; `why` is for a person."""
        self._holders[holder] = why
        if holder == BREAKER:
            self._probe_allowed = False
        self._reckon()

    def resume(self, holder: str) -> None:
        """End the pause of this holder."""
        self._holders.pop(holder, None)
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
    def holders(self) -> dict[str, str]:
        """The holders of the pause, each with its reason."""
        return dict(self._holders)

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
        return self.shut and not (probing and self._holders.keys() == {BREAKER} and not self._is_paused())

    def _is_paused(self) -> bool:
        return self._paused > asyncio.get_running_loop().time()

    async def _moves(self) -> None:
        """Wait until the pause may have changed."""
        now = asyncio.get_running_loop().time()
        until = self._paused if self._paused > now else self._until
        with self._stop.cancels(), anyio.move_on_after(max(0.0, until - now)):
            await self._moved.wait()


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
