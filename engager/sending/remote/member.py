"""One remote sender as its run sees it: what it was handed, what it said, and when it was heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engager.models import SENDER_LOST, Ending, Lost, Recalled
from engager.policies.rate import Pace
from engager.sending.clock import boot_seconds
from engager.sending.remote.messages import EXPIRY, SILENCE, HandedOut, Hello, RemoteSender
from engager.sending.remote.parts import SentParts, SharedParts

#: Seconds without a sign after which a sender is handed nothing more: its questions wait half a second.
_QUIET = 1.5


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
            member.waiting[number] = self

    def finish(self) -> None:
        """Its ending is known, or nobody waits for it any more."""
        if self._member is not None:
            del self._member.waiting[self.number]

    def depart(self, deadline: float) -> None:
        """Hand it to its sender, which has a deadline of its own; it comes back if that is lost."""
        self.is_stored = True
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

    def settle(self, ending: Ending) -> None:
        """Return an ending, the first of them."""
        if not self.ending.done():
            self.ending.set_result(ending)


class Member:
    """One remote sender. Its endings are values, also when it is lost."""

    def __init__(
        self, name: str, link: RemoteSender, hello: Hello, asked: float, shared: SharedParts
    ) -> None:
        """`asked`: when it was asked to introduce itself, on this machine's boot clock."""
        self.name, self.host = name, hello.host
        self.share: float | None = None  #: requests per second that it may send; None: no limit
        self.paced = False  #: it has a share of the rate
        self.sent = 0  #: requests whose endings it returned after they left
        self.is_lost = False
        self._link = link
        # Not later than it is for the sender, however long the question took.
        self._clock_offset = hello.boot - boot_seconds()
        self._heard = asked
        self._parts = SentParts(shared)
        self.waiting: dict[int, RemoteRequest] = {}  #: the requests in flight with it, the oldest first
        self._outbox: list[RemoteRequest] = []
        self._work = asyncio.Event()

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
        return not self.is_lost and self.silent_for < _QUIET and (not self.paced or bool(self.share))

    @property
    def load(self) -> float:
        """Requests in flight, for its share."""
        return len(self.waiting) / (self.share or 1.0)

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
        except* Exception as faults:
            self.lose(_text(faults.exceptions[0]))

    async def tell_share(self, share: float, *, even: bool) -> bool:
        """Tell it its share of the rate; returns whether it has confirmed that."""
        try:
            async with asyncio.timeout(SILENCE):
                await self._link.set_share(Pace(share, even, is_share=True))
        except Exception:
            return False  # it is lost, or will be
        self.share, self.paced = share, True
        return True

    async def recall(self) -> None:
        """Take back what has not left."""
        for request in self._outbox:
            request.settle(Recalled())
        self._outbox.clear()
        try:
            async with asyncio.timeout(SILENCE):
                await self._link.recall()
        except Exception:
            return  # it is lost, or will be

    def lose(self, why: str) -> None:
        """Take it for lost: what it may have sent is in doubt, the rest comes back."""
        if self.is_lost:
            return
        self.is_lost = True
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
        batch = 0
        while True:
            await self._work.wait()
            self._work.clear()
            requests, self._outbox = self._outbox, []
            expires = boot_seconds() + self._clock_offset + EXPIRY
            parts, handed_out = self._parts.batch(), []
            for one in requests:
                if one.ending.done():  # it was taken back
                    continue
                one.is_delivered = True
                handed_out.append(HandedOut(one.number, parts.replaced(one.body), one.request_id, expires))
            batch += 1
            async with asyncio.timeout(SILENCE):
                await self._link.take(batch, handed_out, parts.new)

    async def _listen(self, ended: Callable[[], None]) -> None:
        read = 0
        while True:
            read, endings, boot = await self._link.endings(read)
            self._hear(boot)
            for number, ending, left_at in endings:
                self.sent += left_at is not None
                if (request := self.waiting.get(number)) is not None:
                    request.settle(ending)
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


def _text(fault: Exception) -> str:
    return str(fault) or type(fault).__name__
