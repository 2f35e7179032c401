"""One remote sender as its run sees it: what it was handed, what it said, and when it was heard."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from engager.events import SenderState
from engager.models import SENDER_LOST, Ending, Lost, Recalled
from engager.policies.rate import Pace
from engager.sending.clock import boot_seconds
from engager.sending.remote.messages import EXPIRY, LONG_POLL, SILENCE, HandedOut, Hello, RemoteSender
from engager.sending.remote.parts import SentParts, SharedParts

#: Seconds without a sign after which a sender is handed nothing more: its questions wait half a second.
_QUIET: Final = 1.5

#: Bytes of the requests that are handed over together.
_BATCH: Final = 4_000_000


class RemoteRequest:
    """A request that is handed to a sender, until its ending is known."""

    def __init__(self, number: int, body: tuple[bytes, ...], request_id: str, member: Member | None) -> None:
        """`member`: the sender that gets it; None: none is there any more."""
        self.number, self.body, self.request_id = number, body, request_id
        #: None: it must ask for admission again.
        self.ending: asyncio.Future[Ending | None] = asyncio.get_running_loop().create_future()
        self.since = boot_seconds()  #: when it was handed out
        self.is_stored = False  #: that it leaves
        self.is_delivered = False  #: the sender may have it
        self._member = member
        if member is not None:
            member.waiting[number], member.last_number = self, number

    def finish(self) -> None:
        """Its ending is known, or is not waited for any more."""
        if self._member is not None:
            del self._member.waiting[self.number]

    def depart(self, deadline: float) -> None:
        """Hand it to its sender, which has a deadline of its own; it comes back if that is lost."""
        self.is_stored = True
        if self.ending.done():  # its ending is not waited for any more
            return
        if self._member is None or self._member.is_lost:
            self.settle(Recalled())
        else:
            self._member.put(self)

    def recall(self, fault: BaseException | None) -> None:
        """It must not leave: it is not admitted any more, or what it waited for failed."""
        if self.ending.done():
            return
        if fault is None:
            self.ending.set_result(None)
        else:
            self.ending.set_exception(fault)

    def settle(self, ending: Ending) -> bool:
        """Return an ending; returns whether it is the first one."""
        if self.ending.done():
            return False
        self.ending.set_result(ending)
        return True


class Member:
    """One remote sender. Its endings are values, also when it is lost."""

    def __init__(
        self,
        name: str,
        link: RemoteSender,
        hello: Hello,
        asked: float,
        shared: SharedParts,
        share: float | None = None,
    ) -> None:
        """`asked`: when it was asked to introduce itself, on this machine's boot clock."""
        self.name = name
        self.share = share  #: requests per second that it may send; None: no limit
        self.sent = 0  #: requests whose endings it returned after they left
        self.why_lost = ""
        self.last_number = 0  #: of the requests that it was handed
        self._link = link
        # Not later than it is for the sender, however long the question took.
        self._clock_offset = hello.boot - boot_seconds()
        self._heard = asked
        self._parts = SentParts(shared)
        self.waiting: dict[int, RemoteRequest] = {}  #: the requests in flight with it, the oldest first
        self._outbox: deque[RemoteRequest] = deque()
        self._batch = 0  #: the last one that was handed over
        self._work = asyncio.Event()
        self._over = asyncio.Event()  #: it is lost

    @property
    def in_flight(self) -> int:
        """Requests without an ending yet."""
        return len(self.waiting)

    @property
    def handed_out(self) -> list[float]:
        """When the requests in flight were handed out, on the boot clock, the oldest first."""
        return [request.since for request in self.waiting.values()]

    @property
    def silent_for(self) -> float:
        """Seconds since the last sign of it."""
        return boot_seconds() - self._heard

    @property
    def is_ready(self) -> bool:
        """Whether it can be handed a request."""
        return not self.is_lost and self.silent_for < _QUIET and self.share != 0

    @property
    def load(self) -> float:
        """Requests in flight, for its share."""
        return len(self.waiting) / (self.share or 1.0)

    @property
    def is_lost(self) -> bool:
        """Whether it is taken for lost: for good, as another one comes in its place."""
        return self._over.is_set()

    @property
    def state(self) -> SenderState:
        """Its state at this moment. Of a lost one, no request is in flight any more."""
        in_flight = 0 if self.is_lost else self.in_flight
        return SenderState(self.name, in_flight, self.sent, self.share, self.silent_for, self.is_lost)

    def put(self, request: RemoteRequest) -> None:
        """Hand it a request, which is stored."""
        self._outbox.append(request)
        self._work.set()

    async def work(self, ended: Callable[[], None]) -> None:
        """Exchange requests and endings until it is lost; `ended` is called after endings."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._deliver())
                tasks.create_task(self._listen(ended))
                tasks.create_task(self._watch())
                tasks.create_task(self._until_lost())
        except* Exception as faults:
            self.lose(_text(faults.exceptions[0]))

    async def assign_share(self, share: float, *, even: bool) -> bool:
        """Assign it a share of the rate; returns whether it has confirmed that."""
        try:
            async with asyncio.timeout(SILENCE):
                await self._link.set_share(Pace(share, even, is_share=True))
        except Exception as fault:
            self.lose(_text(fault))  # what it may send is not known
            return False
        self.share = share
        return True

    def recall(self) -> Coroutine[Any, Any, None]:
        """Take back what has not left: at once what was not handed over, the rest when this is awaited.

        What is handed out meanwhile, such as a probe, is not concerned.
        """
        for request in self._outbox:
            request.settle(Recalled())
        self._outbox.clear()
        return self._recall(self._batch)

    async def _recall(self, batch: int) -> None:
        try:
            async with asyncio.timeout(SILENCE):
                await self._link.recall(batch)
        except Exception as fault:
            self.lose(_text(fault))

    def lose(self, why: str) -> None:
        """Take it for lost: what it may have sent is in doubt, the rest comes back."""
        if self.is_lost:
            return
        self.why_lost = why
        self._over.set()
        text = f"the sender {self.name} was lost before it returned the ending: {why}"
        for request in self.waiting.values():
            if request.is_stored:
                request.settle(Lost(SENDER_LOST, text) if request.is_delivered else Recalled())

    async def aclose(self, seconds: float) -> None:
        """Let it end, and wait so long for that at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._link.aclose()
        except Exception:
            return  # it ends by itself when it hears nothing more

    async def _deliver(self) -> None:
        """Hand over what is in the outbox, in numbered batches, one at a time."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._outbox:
                requests, new = self._next_batch()
                async with asyncio.timeout(SILENCE):
                    await self._link.take(self._batch, requests, new)

    def _next_batch(self) -> tuple[Sequence[HandedOut], Mapping[int, bytes]]:
        """The next requests of the outbox, and the parts that the sender lacks.

        Requests of a few megabytes at most, or one: on a narrow line, all of them would expire on the way.
        """
        self._batch += 1
        expires = boot_seconds() + self._clock_offset + EXPIRY
        parts, requests, size = self._parts.batch(), list[HandedOut](), 0
        while self._outbox and size + sum(map(len, parts.new.values())) < _BATCH:
            one = self._outbox.popleft()
            if not one.ending.done():  # else it was taken back
                one.is_delivered = True
                body = parts.replaced(one.body)
                requests.append(HandedOut(one.number, body, one.request_id, expires))
                size += sum(len(part) for part in body if isinstance(part, bytes))
        return requests, parts.new

    async def _listen(self, ended: Callable[[], None]) -> None:
        read = 0
        while True:
            read, endings, boot = await self._link.endings(read)
            self._hear(boot)
            for number, ending, left_at in endings:
                request = self.waiting.get(number)
                if request is not None and request.settle(ending):
                    self.sent += left_at is not None
            if endings:
                ended()

    def _hear(self, boot: float) -> None:
        """Note a sign of it, and what its boot clock showed."""
        now = boot_seconds()
        # A sign that was long on its way shows too little, and clocks drift apart by less than a thousandth.
        self._clock_offset = max(boot - now, self._clock_offset - 0.001 * (now - self._heard))
        self._heard = now

    async def _watch(self) -> None:
        """Raises TimeoutError when it was not heard for long."""
        while True:
            if (left := SILENCE - self.silent_for) <= 0:
                raise TimeoutError(f"it was not heard for {SILENCE:.0f} s")
            await asyncio.sleep(left)
            await asyncio.sleep(LONG_POLL)  # a run that was stopped itself hears first what came meanwhile

    async def _until_lost(self) -> None:
        """Raises ConnectionError once it is lost, for whatever reason."""
        await self._over.wait()
        raise ConnectionError(self.why_lost)


def _text(fault: Exception) -> str:
    return str(fault) or type(fault).__name__
