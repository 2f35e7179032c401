"""One remote sender as its run sees it, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from math import inf

import pytest

from engager.models import SENDER_LOST, Lost, Recalled
from engager.sending.remote.member import Member, RemoteRequest
from engager.sending.remote.messages import EXPIRY, SILENCE
from engager.sending.remote.parts import SharedParts
from tests.sending.remote.fakes import OK, FakeSender, one_clock
from tests.sending.remote.wire import settings_for

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def member_of(sender: FakeSender, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Member]:
    """A sender that has joined, and is worked with."""
    clock = one_clock(monkeypatch)
    asked = clock()
    hello = await sender.begin(settings_for(None))
    member = Member("one", sender, hello, asked, SharedParts())
    work = asyncio.create_task(member.work(lambda: None))
    try:
        yield member
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def soon() -> None:
    await asyncio.sleep(0.01)


async def handed(member: Member, number: int, body: tuple[bytes, ...]) -> object:
    request = RemoteRequest(number, body, f"id-{number}", member)
    try:
        request.depart(inf)
        return await request.ending
    finally:
        request.finish()


def handing(member: Member, *numbers: int, body: tuple[bytes, ...] = (b"{}",)) -> list[asyncio.Task[object]]:
    return [asyncio.create_task(handed(member, number, body)) for number in numbers]


async def test_what_it_may_have_is_lost_with_it_and_the_rest_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sender = FakeSender(answer=None)
    async with member_of(sender, monkeypatch) as member:
        taken = handing(member, 1)
        await soon()
        sender.reached.clear()
        under_way = handing(member, 2)
        await soon()
        waiting = handing(member, 3)
        await soon()
        assert sender.batches == [[1], [2]]
        member.lose("the machine burns")
        endings = [await task for task in (*taken, *under_way, *waiting)]
        assert [getattr(one, "error", None) for one in endings] == [SENDER_LOST, SENDER_LOST, None]
        assert [type(one) for one in endings] == [Lost, Lost, Recalled]
        assert (member.in_flight, member.is_ready, member.handed_out) == (0, False, [])


async def test_the_work_ends_when_it_is_lost_for_any_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise nobody would look for another one in its place."""
    clock = one_clock(monkeypatch)
    sender = FakeSender()
    member = Member("one", sender, await sender.begin(settings_for(None)), clock(), SharedParts())
    work = asyncio.create_task(member.work(lambda: None))
    await soon()
    member.lose("it left")
    async with asyncio.timeout(1):
        await work


@pytest.mark.parametrize("how", ["gone", "silent"])
async def test_a_sender_that_does_not_respond_is_lost(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = FakeSender(answer=None)
    async with member_of(sender, monkeypatch) as member:
        tasks = handing(member, 1)
        await soon()
        if how == "gone":
            sender.lose()
        else:
            sender.reached.clear()
            await asyncio.sleep(2)
            assert not member.is_ready, "it is handed nothing more"
            assert not member.is_lost
            await asyncio.sleep(SILENCE)
        assert isinstance(await tasks[0], Lost)
        assert member.is_lost
        assert member.why_lost


async def test_a_sender_that_was_silent_for_a_moment_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = FakeSender()
    async with member_of(sender, monkeypatch) as member:
        sender.reached.clear()
        await asyncio.sleep(SILENCE - 2)
        assert not member.is_ready
        sender.reached.set()
        await asyncio.sleep(1)
        assert member.is_ready
        assert await handing(member, 1)[0] == OK


async def test_endings_that_are_delivered_twice_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = FakeSender()
    sender.repeats = True
    async with member_of(sender, monkeypatch) as member:
        for number in range(1, 6):
            assert await handing(member, number)[0] == OK
        assert member.sent == 5


async def test_what_came_back_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = FakeSender(answer=None)
    async with member_of(sender, monkeypatch) as member:
        tasks = handing(member, 1)
        await soon()
        sender.end(1, Recalled(), left_at=None)
        assert await tasks[0] == Recalled()
        assert member.sent == 0


async def test_a_recall_names_the_last_batch_and_returns_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = FakeSender(answer=None)
    async with member_of(sender, monkeypatch) as member:
        for number in (1, 2):
            handing(member, number)
            await soon()
        sender.reached.clear()
        handing(member, 3)
        await soon()
        waiting = handing(member, 4)
        await soon()
        recall = asyncio.create_task(member.recall())
        assert await waiting[0] == Recalled()
        await soon()
        assert sender.recalls == [3]
        sender.reached.set()
        await recall
        assert sender.batches == [[1], [2], [3]]
        assert member.in_flight == 3


async def test_a_share_that_is_not_confirmed_loses_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it may send would not be known."""
    sender = FakeSender()
    async with member_of(sender, monkeypatch) as member:
        assert await member.assign_share(5.0, even=False)
        assert (member.share, sender.shares) == (5.0, [5.0])
        sender.gone = OSError("the connection broke")
        assert not await member.assign_share(3.0, even=False)
        assert member.is_lost


@pytest.mark.parametrize("ahead", [-1000.0, 0.0, 1000.0])
async def test_a_request_expires_on_the_clock_of_its_sender(
    ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = FakeSender(ahead=ahead)
    async with member_of(sender, monkeypatch) as member:
        await asyncio.sleep(20)
        given = asyncio.get_running_loop().time()
        await handing(member, 1)[0]
        latest = given + ahead + EXPIRY
        assert latest - 1 < sender.taken[0].expires <= latest + 1e-3


async def test_large_bodies_are_handed_over_in_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """All together they would expire on a narrow line."""
    sender = FakeSender()
    async with member_of(sender, monkeypatch) as member:
        bodies = [bytes(1_000_000 + number) for number in range(12)]
        await asyncio.gather(
            *[handing(member, number, body=(body,))[0] for number, body in enumerate(bodies)]
        )
        assert sorted(number for batch in sender.batches for number in batch) == [*range(12)]
        assert max(map(len, sender.batches)) <= 4


async def test_a_shared_part_travels_once_to_a_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, offer = FakeSender(), bytes(100_000)
    async with member_of(sender, monkeypatch) as member:
        for number in range(5):
            await handing(member, number, body=(b"{", offer, b"}"))[0]
        travelled = [part for one in sender.taken for part in one.body if part == offer]
        kept = [part for parts in sender.parts for part in parts.values()]
        assert (len(travelled), kept) == (1, [offer])


async def test_a_request_whose_wait_was_cancelled_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = FakeSender(answer=None)
    async with member_of(sender, monkeypatch) as member:
        tasks = handing(member, 1, 2)
        await soon()
        for task in tasks:
            task.cancel()
        await soon()
        assert member.in_flight == 0
        sender.end(1, OK)
        await soon()
        assert (member.sent, member.is_lost) == (0, False)
