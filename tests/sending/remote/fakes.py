"""Remote senders and a roster that do as a test says, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import pytest

from engager.config.version import __version__
from engager.models import Ending, Reply
from engager.policies.rate import Pace
from engager.sending.remote import member as member_module
from engager.sending.remote import transport as transport_module
from engager.sending.remote.messages import LONG_POLL, Ended, HandedOut, Hello, RemoteSender, Settings
from engager.sending.remote.transport import Joined

OK = Reply(200, b'{"data":null,"error":0,"error_text":"Successful operation"}')


def one_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """Let the boot clock be that of the running loop."""
    clock = asyncio.get_running_loop().time
    for module in (member_module, transport_module):
        monkeypatch.setattr(module, "boot_seconds", clock)
    return clock


class FakeSender:
    """Answers every request at once, unless `answer` is None."""

    def __init__(self, answer: Ending | None = OK, fault: str = "", ahead: float = 0.0) -> None:
        self.answer, self.fault = answer, fault
        self.ahead = ahead  #: seconds by which its clock is ahead
        self.taken: list[HandedOut] = []
        self.batches: list[list[int]] = []
        self.parts: list[Mapping[int, bytes]] = []
        self.recalls: list[int] = []
        self.shares: list[float | None] = []
        self.is_closed = False
        self.reached = asyncio.Event()  #: while it is not set, no call comes to an end
        self.reached.set()
        self.gone: Exception | None = None  #: raised by every call
        self.repeats = False  #: returns all endings again
        self._ended: list[Ended] = []
        self._news = asyncio.Event()

    def end(self, number: int, ending: Ending, left_at: float | None = 1.0) -> None:
        self._ended.append(Ended(number, ending, left_at))
        self._news.set()

    def lose(self) -> None:
        """Break every connection to it."""
        self.gone = EOFError("the process ended")
        self._news.set()

    async def _reach(self) -> None:
        await self.reached.wait()
        if self.gone is not None:
            raise self.gone

    def _boot(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead

    async def begin(self, settings: Settings, check: bool = False) -> Hello:
        await self._reach()
        return Hello(__version__, "3", "here", self._boot(), 0.0, self.fault)

    async def take(self, batch: int, requests: Sequence[HandedOut], parts: Mapping[int, bytes]) -> None:
        self.batches.append([one.number for one in requests])
        self.parts.append(parts)
        await self._reach()
        assert len(self.batches) == batch
        self.taken += requests
        if self.answer is not None:
            for one in requests:
                self.end(one.number, self.answer)

    async def endings(self, read: int) -> tuple[int, Sequence[Ended], float]:
        await self._reach()
        if len(self._ended) <= read:
            self._news.clear()
            try:
                async with asyncio.timeout(LONG_POLL):
                    await self._news.wait()
            except TimeoutError:
                pass
            await self._reach()
        return len(self._ended), self._ended[0 if self.repeats else read :], self._boot()

    async def recall(self, batch: int) -> None:
        self.recalls.append(batch)
        await self._reach()

    async def set_share(self, pace: Pace) -> None:
        await self._reach()
        self.shares.append(None if pace is None else pace.rate)

    async def aclose(self) -> None:
        await self._reach()
        self.is_closed = True


class FakeRoster:
    """Lets senders join and leave."""

    def __init__(self, **senders: RemoteSender) -> None:
        self.senders = senders
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.is_closed = False
        self._joined: Joined | None = None
        self._left: Callable[[str], None] | None = None
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def watch(self, joined: Joined, left: Callable[[str], None]) -> str:
        self._joined, self._left = joined, left
        for name, sender in self.senders.items():
            self.join(name, sender)
        return await self._over

    def join(self, name: str, sender: RemoteSender) -> None:
        assert self._joined is not None
        self.tasks[name] = self._joined(name, sender)

    def leave(self, name: str) -> None:
        assert self._left is not None
        self._left(name)

    def end(self, reason: str | Exception) -> None:
        """No more can come."""
        if isinstance(reason, Exception):
            self._over.set_exception(reason)
        else:
            self._over.set_result(reason)

    async def aclose(self) -> None:
        self.is_closed = True
