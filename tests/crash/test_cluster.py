"""The short form of the harness over other processes, and what a network and clocks do to a sender."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import distributed  # noqa: F401 - part of `dev`: without it, these tests fail and are not skipped
import pytest

from engager.config.version import __version__
from engager.models import Recalled, Reply
from engager.sandbox import Sandbox, SandboxConfig
from engager.sending.clock import boot_seconds
from engager.sending.limits import Limits
from engager.sending.remote.messages import EXPIRY, Ended, HandedOut, Hello, Settings
from engager.sending.remote.sender import StatelessSender
from engager.sending.remote.transport import Demand, Joined, remote_transport
from engager.sending.stop import Stop
from tests.crash.cluster import Case, Report, series

PATH = "/api/v1.1/workflows/start"


async def test_losses_of_a_cluster_break_no_guarantee() -> None:
    report = Report()
    kinds = "sender killed; coordinator killed"
    forced = {"engine": "cluster", "mode": "at-most-once", "batch": "0", "rows": "450", "rate": "0"}
    await series([Case.drawn(25, **forced, kind=kinds)], report)
    assert report.wrong == []
    assert sorted(report.disturbances) == ["coordinator killed", "sender killed"]


async def test_losses_of_processes_break_no_guarantee() -> None:
    report = Report()
    forced = {"engine": "2", "mode": "exactly-once", "batch": "7", "rows": "1400", "rate": "60"}
    await series([Case.drawn(7, **forced, kind="all senders killed")], report)
    assert report.wrong == []
    assert report.disturbances["all senders killed"] == 1


def settings_for(sandbox: Sandbox) -> Settings:
    headers = {"Content-Type": "application/json"}
    return Settings(
        __version__,
        sandbox.url + PATH,
        headers,
        wire="json",
        token=None,
        least_token=1,
        bearer=False,
        timeout=5.0,
        longest_answer=1 << 20,
        transport="lean",
        connections=8,
    )


def body_for(settings: Settings, person: str) -> tuple[bytes, ...]:
    fields = {"token": settings.token_place, "id": 12, "matching": "email", "email": person}
    return (json.dumps(fields).encode(),)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxConfig(keep_log=True)) as sandbox:
        yield sandbox


async def test_calls_that_are_delivered_twice_send_once(sandbox: Sandbox) -> None:
    sender, settings = StatelessSender(), settings_for(sandbox)
    for _ in range(2):
        assert not (await sender.begin(settings)).fault
    requests = [
        HandedOut(number, body_for(settings, f"p{number}@example.com"), f"id-{number}", boot_seconds() + 5)
        for number in (1, 2)
    ]
    await asyncio.gather(*[sender.take(1, requests, {}) for _ in range(2)])
    read, first, _ = await sender.endings(0)
    again = await sender.endings(0)
    assert again[1][: len(first)] == first, "a reply that was lost can be had again"
    numbers = {one.number for one in first}
    while len(numbers) < 2:
        read, more, _ = await sender.endings(read)
        numbers |= {one.number for one in more}
    assert numbers == {1, 2}
    await sender.take(1, requests, {})
    assert not (await sender.endings(read))[1]
    assert sorted(entry.request_id for entry in sandbox.log) == ["id-1", "id-2"]
    await sender.aclose()


async def test_a_request_that_arrives_too_late_comes_back(sandbox: Sandbox) -> None:
    sender, settings = StatelessSender(), settings_for(sandbox)
    await sender.begin(settings)
    body = body_for(settings, "late@example.com")
    await sender.take(1, [HandedOut(1, body, "id", boot_seconds() - 0.001)], {})
    _, ended, _ = await sender.endings(0)
    assert [(one.ending, one.left_at) for one in ended] == [(Recalled(), None)]
    assert not sandbox.log
    await sender.aclose()


class Here:
    """A sender in this process, where all is recorded that it is handed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._sender, self._clock = StatelessSender(), clock
        self.lives: list[float] = []  #: seconds until each request expires, on the clock of the sender

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sender, name)

    async def take(self, batch: int, requests: Sequence[HandedOut], parts: dict[int, bytes]) -> None:
        self.lives += [request.expires - self._clock() for request in requests]
        await self._sender.take(batch, requests, parts)

    async def watch(self, joined: Joined, left: Callable[[str], None]) -> str:
        await joined("here", self)  # type: ignore[arg-type]
        return "it ended"

    async def aclose(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("ahead", [-600.0, 0.0, 600.0])
async def test_a_request_lives_as_long_whatever_the_clock_of_its_sender_shows(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    def shifted() -> float:
        return boot_seconds() + ahead

    monkeypatch.setattr("engager.sending.remote.sender.boot_seconds", shifted)
    here, settings = Here(shifted), settings_for(sandbox)
    limits = Limits.create(Stop(), None)
    async with remote_transport(settings, limits, Demand(), here) as transport:
        for number in range(20):
            body = body_for(settings, f"p{number}@example.com")
            ending = await transport.send(body, f"id-{number}", lambda: True)
            assert isinstance(ending, Reply)
            await asyncio.sleep(0)
    assert len(sandbox.log) == len(here.lives) == 20
    assert all(0 < left <= EXPIRY for left in here.lives)


class Slow:
    """A sender that begins slowly, and responds to everything that it is handed."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ended: list[Ended] = []

    async def begin(self, settings: Settings, check: bool = False) -> Hello:
        await asyncio.sleep(self._seconds)
        return Hello(__version__, "", "", boot_seconds(), 0.0)

    async def take(self, batch: int, requests: Sequence[HandedOut], parts: dict[int, bytes]) -> None:
        self._ended += [Ended(request.number, Reply(200, b"{}"), boot_seconds()) for request in requests]

    async def endings(self, read: int) -> tuple[int, list[Ended], float]:
        await asyncio.sleep(0.01)
        return len(self._ended), self._ended[read:], boot_seconds()

    async def recall(self) -> None:
        """Nothing waits."""

    async def watch(self, joined: Joined, left: Callable[[str], None]) -> str:
        await joined("slow", self)  # type: ignore[arg-type]
        return "it ended"

    async def aclose(self) -> None:
        """Nothing is held."""


@pytest.mark.virtual_time
async def test_a_sender_may_begin_slowly() -> None:
    stop, slow = Stop(), Slow(40)
    settings = Settings(__version__, "", {}, "json", None, 1, False, 5.0, 1, "lean", 1)
    async with remote_transport(settings, Limits.create(stop, None), Demand(), slow) as transport:
        async with asyncio.timeout(50):
            assert isinstance(await transport.send((b"{}",), "id", lambda: True), Reply)
    assert stop.exit is None
