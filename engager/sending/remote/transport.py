"""The transport over remote senders: hands each request to one of them, and returns how it ended.

Invariant: a request is handed to one sender at a time. It goes to another one only when the first returned
it, or cannot have received it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import anyio

from engager.config.log import log
from engager.config.sanitize import sanitized
from engager.errors import Exit
from engager.events import SenderState
from engager.models import Ending, Withheld
from engager.policies.shares import Shares
from engager.sending.clock import boot_seconds, running_clock
from engager.sending.limits import Limits
from engager.sending.remote.member import Member, RemoteRequest
from engager.sending.remote.messages import (
    BEGINNING,
    EXPIRY,
    SILENCE,
    Hello,
    RemoteSender,
    Settings,
    order_of,
)
from engager.sending.remote.parts import SharedParts
from engager.sending.tasks import Tasks
from engager.sending.transport.base import Admission, Departures, InFlight, SendBatch

#: Seconds between two looks at the senders and their shares.
_LOOK: Final = 0.1

#: Seconds for which the senders may take to end.
_LAST: Final = 2.0

#: Called with the name of a sender and the sender, when one is there; the task ends when it is lost.
Joined = Callable[[str, RemoteSender], asyncio.Task[None]]


class Roster(Protocol):
    """Where remote senders come from."""

    async def watch(self, joined: Joined, left: Callable[[str], None]) -> str:
        """Report the senders that come and those that are gone, until no more can come; returns why."""
        ...

    async def aclose(self) -> None:
        """Free all that it holds, after the senders ended."""
        ...


@dataclass(frozen=True, slots=True)
class Demand:
    """How many senders a run needs."""

    at_least: int = 1
    patience: float = 120.0  #: seconds with fewer of them after which the run stops


class RemoteTransport:
    """Sends through remote senders. Create it with `remote_transport`."""

    def __init__(self, settings: Settings, limits: Limits, demand: Demand, roster: Roster) -> None:
        self._settings, self._limits, self._demand, self._roster = settings, limits, demand, roster
        self._members: dict[str, Member] = {}
        self._lost: dict[str, SenderState] = {}
        self._parts = SharedParts()
        self._shares = Shares(0.0)
        self._departures = Departures(running_clock(), settings.timeout)
        self._number = 0
        self._is_closing = False
        self._complete = False  #: the first senders are there
        self._short_since = boot_seconds()  #: when there were enough at last
        self._why = ""  #: the last sender that could not be used
        self._changed = asyncio.Event()
        self._tasks = Tasks()
        limits.gate.on_change(self._recall_if_shut)
        limits.stop.on_request(self._recall)

    # The transport

    async def send(self, body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        """Send one request, once."""
        while True:
            while self._ready_member() is None:
                if self._limits.stop.requested:
                    return Withheld()
                self._changed.clear()
                await self._changed.wait()
            admitted = admission()
            if not isinstance(admitted, (bool, SendBatch)):
                admitted = await admitted
            if admitted is False:
                return Withheld()
            request = self._handed_out(body, request_id)
            try:
                self._departures.add(admitted, request)
                ending = await request.ending
            finally:
                request.finish()
            if ending is not None:
                return ending

    def _handed_out(self, body: tuple[bytes, ...], request_id: str) -> RemoteRequest:
        """A request for the sender that has the least to do."""
        self._number += 1
        return RemoteRequest(self._number, body, request_id, self._ready_member())

    @property
    def in_flight(self) -> InFlight:
        """The requests that were handed out and have no ending yet."""
        now = boot_seconds()
        ages = [now - since for member in self._members.values() for since in member.handed_out]
        longest = EXPIRY + 2 * self._settings.timeout  # to leave, to connect, and for the exchange
        within = max((longest - age for age in ages), default=0.0)
        return InFlight(len(ages), round(max(ages), 3) if ages else None, round(max(0.0, within), 3))

    @property
    def senders(self) -> Sequence[SenderState]:
        """The remote senders in the order of their names, and then those that were lost."""
        present = sorted(self._members.values(), key=lambda member: order_of(member.name))
        return [*(member.state for member in present), *self._lost.values()]

    async def aclose(self) -> None:
        """Let every sender end."""
        self._is_closing = True
        members = list(self._members.values())
        await asyncio.gather(*[member.aclose(_LAST) for member in members])
        await self._tasks.cancel()
        for member in members:
            member.lose("the run ends")
        await self._roster.aclose()

    # The senders

    def begin(self) -> None:
        """Watch the senders, and look after them."""
        self._tasks.begin(self._watch_roster())
        self._tasks.begin(self._steward())

    async def _watch_roster(self) -> None:
        try:
            reason = await self._roster.watch(self._join, self._leave)
        except Exception as fault:  # without senders, the run must not wait for ever
            log.exception("the senders cannot be watched")
            reason = f"the senders cannot be watched: {type(fault).__name__}: {fault}"
        self._limits.stop.request(Exit.STOPPED, f"{reason}; run the same command again to resume")
        for name in list(self._members):
            self._lose(name, reason)

    def _join(self, name: str, link: RemoteSender) -> asyncio.Task[None]:
        return self._tasks.begin(self._with_member(name, link))

    async def _with_member(self, name: str, link: RemoteSender) -> None:
        """Ask a sender to begin, and work with it until it is lost."""
        try:
            asked, hello = await self._begun(link)
        except TimeoutError:
            self._refuse(name, f"it did not begin within {BEGINNING:.0f} s")
            return
        except Exception as fault:
            self._refuse(name, str(fault) or type(fault).__name__)
            return
        if hello.fault:
            self._refuse(name, hello.fault)
            return
        share = None if self._limits.rate_limiter.pace is None else 0.0
        member = self._members[name] = Member(name, link, hello, asked, self._parts, share)
        if (before := self._lost.pop(name, None)) is not None:  # it is there again
            member.sent = before.sent
        self._shares.join(name)
        self._look()
        await member.work(self._wake)
        self._lose(name, member.why_lost)

    async def _begun(self, link: RemoteSender) -> tuple[float, Hello]:
        """Let a sender begin; returns when it was asked, which is a moment ago, and what it said.

        The first reply may be slow, as modules are loaded. It would leave open when the run was heard last.
        """
        async with asyncio.timeout(BEGINNING):
            while True:
                asked = boot_seconds()
                hello = await link.begin(self._settings)
                if hello.fault or boot_seconds() - asked < SILENCE / 2:
                    return asked, hello

    def _refuse(self, name: str, why: str) -> None:
        text = f"{name}: {sanitized(why, ' ')}"
        if text != self._why:
            log.warning("a sender cannot be used: %s", text)
        self._why = text

    def _leave(self, name: str) -> None:
        self._lose(name, "it is gone")

    def _lose(self, name: str, why: str) -> None:
        member = self._members.get(name)
        if member is None or self._is_closing:  # a sender that has ended cannot be asked any more
            return
        member.lose(why)
        del self._members[name]
        self._lost[name] = member.state
        self._shares.leave(name, boot_seconds() + EXPIRY)
        if not self._limits.stop.requested:
            log.warning("the sender %s is lost: %s", name, sanitized(why, " "))
        self._look()

    def _ready_member(self) -> Member | None:
        """The sender with the least to do for its share, of those that can be handed a request.

        Of several, the one that was handed none for the longest: where requests end quickly, the share of the
        first would otherwise be the rate of the run.
        """
        if not self._complete:
            return None
        ready = [member for member in self._members.values() if member.is_ready]
        return min(ready, key=lambda member: (member.load, member.last_number)) if ready else None

    def _wake(self) -> None:
        self._changed.set()

    # Pauses and shares

    def _recall_if_shut(self) -> None:
        if self._limits.gate.shut:
            self._recall()

    def _recall(self) -> None:
        """Take back what has not left: the run pauses, or stops."""
        self._wake()
        for member in self._members.values():
            self._tasks.begin(member.recall())

    async def _steward(self) -> None:
        """Keep the shares and the number of senders in order."""
        while True:
            self._look()
            await asyncio.sleep(_LOOK)

    def _look(self) -> None:
        self._look_at_number()
        pace = self._limits.rate_limiter.pace
        if pace is not None:
            self._shares.rate = pace.rate
            for name, share in self._shares.due(boot_seconds()).items():
                self._tasks.begin(self._assign_share(self._members[name], share, even=pace.even))
        self._wake()

    async def _assign_share(self, member: Member, share: float, *, even: bool) -> None:
        confirmed = await member.assign_share(share, even=even)
        if confirmed and self._members.get(member.name) is member:
            self._shares.confirm(member.name, share, boot_seconds())
            self._wake()

    def _look_at_number(self) -> None:
        """Begin when enough senders are there; stop when there were too few for too long."""
        now, enough = boot_seconds(), len(self._members) >= self._demand.at_least
        if enough:
            self._complete, self._short_since = True, now
        elif now - self._short_since > self._demand.patience:
            there = f"{len(self._members)} of at least {self._demand.at_least} senders are there"
            why = f"; the last that could not be used is {self._why}" if self._why else ""
            self._limits.stop.request(
                Exit.STOPPED, f"{there}, for {self._demand.patience:.0f} s{why}; run the same command again"
            )


@asynccontextmanager
async def remote_transport(
    settings: Settings, limits: Limits, demand: Demand, roster: Roster
) -> AsyncIterator[RemoteTransport]:
    """A transport over the senders of a roster, which end with it."""
    transport = RemoteTransport(settings, limits, demand, roster)
    transport.begin()
    try:
        yield transport
    finally:
        with anyio.CancelScope(shield=True):
            await transport.aclose()
