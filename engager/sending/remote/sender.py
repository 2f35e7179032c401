"""A remote sender: takes requests, sends each once at its share of the rate, and returns how it ended.

Invariant: a request leaves at most once, only before it expires, and only while the run is heard. Whatever
provably did not leave comes back as `Recalled`.
"""

from __future__ import annotations

import asyncio
import platform
import socket
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from engager.altcraft.classification import judge
from engager.config.version import __version__
from engager.errors import EngagerError, Exit
from engager.models import Ending, Lost, NotSent, Recalled, Reply, Withheld
from engager.policies.rate import Pace
from engager.sending.clock import boot_seconds, running_clock
from engager.sending.limits import RateLimiter, Slot
from engager.sending.pause import PauseGate, pause_seconds
from engager.sending.remote.access import Access
from engager.sending.remote.messages import EXPIRY, LONG_POLL, SILENCE, Ended, HandedOut, Hello, Settings
from engager.sending.stop import Stop
from engager.sending.tasks import Tasks
from engager.sending.transport.base import SendBatch, Transport
from engager.sending.transport.choice import transport_to

#: Seconds between two looks whether the run is still heard.
_LOOK: Final = 1.0


class _Request:
    """One request that was handed out, on its way to the endpoint."""

    __slots__ = ("batch", "due", "expires", "left_at", "slot")

    def __init__(self, batch: int, expires: float) -> None:
        self.batch = batch
        self.expires = expires
        self.slot: Slot | None = None  #: given by the rate limiter, and not used yet
        self.due = 0.0  #: running clock: when it was let through
        self.left_at: float | None = None


class StatelessSender:
    """Sends for one run. Create it anywhere; it works in the loop in which `begin` is called."""

    def __init__(self) -> None:
        self._taken = 0  #: the last batch
        self._recalled = 0  #: the last batch that was recalled
        self._parts: dict[int, bytes] = {}
        self._ended: list[Ended] = []
        self._forgotten = 0  #: endings before those in `_ended`
        self._tasks = Tasks()
        self._transport: Transport | None = None

    async def begin(self, settings: Settings, check: bool = False) -> Hello:
        """Prepare to send; with `check`, connect to the endpoint and end at once."""
        hello = Hello(
            __version__, platform.python_version(), socket.gethostname(), boot_seconds(), time.time()
        )
        if settings.version != __version__:
            return hello._replace(fault=f"it has engager {__version__}, and the run {settings.version}")
        try:
            self._access = Access(settings)
        except EngagerError as fault:
            return hello._replace(fault=str(fault))
        if check:
            mark = self._access.token_mark(settings.mark_key)
            return hello._replace(fault=await self._access.unreachable(), token_mark=mark)
        if self._transport is not None:  # the engine repeats a call whose reply was lost
            self._hear()
            return hello
        self._now, self._heard, self._stop = running_clock(), boot_seconds(), Stop()
        self._gate = PauseGate(self._stop)
        self._limiter = RateLimiter(None, self._stop, self._gate)
        self._round = SendBatch(None, self._leave)
        self._leaving: list[_Request] = []  #: those that leave in this round of the loop
        self._news = asyncio.Event()
        self._transport = transport_to(self._access.destination, settings.connections, settings.transport)
        self._tasks.begin(self._end_in_silence())
        return hello

    async def take(self, batch: int, requests: Sequence[HandedOut], parts: Mapping[int, bytes]) -> None:
        """Take requests, and the parts of bodies to keep; the same batch is taken once."""
        transport = self._hear()
        if batch <= self._taken:  # the engine repeats a call whose reply was lost
            return
        self._taken = batch
        self._parts.update(parts)
        for number, pieces, request_id, expires in requests:
            body = tuple([self._parts[part] if isinstance(part, int) else part for part in pieces])
            request = _Request(batch, expires)
            self._tasks.begin(
                self._send(transport, number, self._access.with_token(body), request_id, request)
            )

    async def endings(self, read: int) -> tuple[int, Sequence[Ended], float]:
        """How many endings there are, those after the first `read` ones, and the boot clock; waits."""
        del self._ended[: max(0, read - self._forgotten)]
        self._forgotten = max(self._forgotten, read)
        if self._transport is not None or not (self._ended or self._tasks):
            self._hear()  # otherwise it has ended, and a run that was stopped for long reads what it can
        if not self._ended:
            self._news.clear()
            try:
                async with asyncio.timeout(LONG_POLL):
                    await self._news.wait()
            except TimeoutError:
                pass
        return self._forgotten + len(self._ended), list(self._ended), boot_seconds()

    async def recall(self, batch: int) -> None:
        """Give back every request of the batches up to this one that has not left, also if it comes later."""
        self._hear()
        self._recalled = max(self._recalled, batch)
        self._give_back()

    async def set_share(self, pace: Pace) -> None:
        """Set the requests per second of this sender, which has no limit before."""
        self._hear()
        self._limiter.set_pace(pace)

    async def aclose(self) -> None:
        """Give back what has not left, and end."""
        if (transport := self._transport) is None:
            return
        self._transport = None
        self._stop.request(Exit.STOPPED, "the sender ends")
        self._give_back()
        await transport.aclose()

    def _hear(self) -> Transport:
        """Note that the run is alive. Raises RuntimeError where the sender does not send."""
        if self._transport is None:
            raise RuntimeError("this sender has not begun, or has ended")
        self._heard = boot_seconds()
        return self._transport

    async def _end_in_silence(self) -> None:
        """End when the run has not been heard for long: it takes this sender for lost by then."""
        while self._transport is not None:
            await asyncio.sleep(_LOOK)
            if boot_seconds() - self._heard > SILENCE:
                await self.aclose()

    def _give_back(self) -> None:
        """Give back what must not leave: what waits for the rate is woken by a pause of no length."""
        self._gate.pause("recall")
        self._gate.resume("recall")

    async def _send(
        self, transport: Transport, number: int, body: tuple[bytes, ...], request_id: str, request: _Request
    ) -> None:
        ending: Ending
        try:
            ending = self._returned(
                await transport.send(body, request_id, partial(self._admit, request)), request
            )
        except Exception as fault:  # a fault of this program: the run must not wait for this ending for ever
            text = self._access.redact(f"{type(fault).__name__}: {fault}")
            unsent = request.left_at is None
            ending = NotSent("sender_fault", text) if unsent else Lost("sender_fault", text)
        self._ended.append(Ended(number, ending, request.left_at))
        self._news.set()

    def _returned(self, ending: Ending, request: _Request) -> Ending:
        """An ending as the run gets it: with its time, and without the token, which a response may repeat."""
        if isinstance(ending, Withheld | Recalled):
            return Recalled()
        took = self._now() - request.due if request.left_at is not None else None
        if isinstance(ending, Reply):
            if ending.retry_after is not None:
                self._pause(ending)
            location = ending.location and self._access.redact(ending.location)
            body = self._access.redact_bytes(ending.body)
            return replace(ending, body=body, location=location, took=took)
        return replace(ending, error_text=self._access.redact(ending.error_text), took=took)

    def _pause(self, reply: Reply) -> None:
        """Let nothing leave until the run, which decides on the pause, has recalled all senders."""
        verdict = judge(reply)
        if verdict.retry_after is not None:
            seconds = pause_seconds(verdict.retry_after, time.time(), verdict.date)
            self._gate.close(min(seconds or 0.0, EXPIRY))

    def _admit(self, request: _Request) -> bool | SendBatch | Awaitable[bool | SendBatch]:
        """Let a request leave when its turn comes, unless it must not leave any more."""
        if request.due and request in self._leaving:  # it has not left, as there was no connection
            self._leaving.remove(request)
        return self._let_through(request) if self._limiter.free else self._admit_when_due(request)

    async def _admit_when_due(self, request: _Request) -> bool | SendBatch:
        while not self._is_void(request):
            try:
                # What expires leaves the queue: its turn would use up the share of what can still leave.
                async with asyncio.timeout(request.expires - boot_seconds()):
                    request.slot = await self._limiter.wait(request.slot)
            except TimeoutError:
                return False
            if request.slot is not None:
                return self._let_through(request)
        return False

    def _let_through(self, request: _Request) -> bool | SendBatch:
        if self._is_void(request):
            return False
        request.due = self._now()
        self._leaving.append(request)
        return self._round

    def _is_void(self, request: _Request) -> bool:
        """Whether a request must not leave any more: the run may have given it to another sender."""
        return (
            self._transport is None
            or self._gate.shut
            or request.batch <= self._recalled
            or request.expires <= boot_seconds()
        )

    def _leave(self) -> bool:
        """Note when the requests of this round leave, and count them."""
        leaving, self._leaving = self._leaving, []
        left_at = boot_seconds()
        for request in leaving:
            request.left_at = left_at
        if slots := [request.slot for request in leaving if request.slot is not None]:
            self._limiter.departed(slots)
        return True
