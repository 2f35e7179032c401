"""The transport over remote senders, in virtual time, under the policies of a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from engager.altcraft.classification import Meaning, Verdict
from engager.errors import Exit
from engager.models import SENDER_LOST, UNATTEMPTED, EngageRequest, Recalled, Reply
from engager.policies.circuit_breaker import Breaker
from engager.policies.delivery import Delivery, Mode
from engager.policies.rate import Pace
from engager.policies.retry import Retry
from engager.sending.admission import AdmissionControl
from engager.sending.attempt import Attempt
from engager.sending.limits import Limits
from engager.sending.remote.transport import Demand, RemoteTransport, remote_transport
from engager.sending.sender import Sender
from engager.sending.stop import Stop
from tests.sending.remote.fakes import OK, FakeRoster, FakeSender, one_clock
from tests.sending.remote.wire import settings_for
from tests.sending.scripted import request

pytestmark = pytest.mark.virtual_time


@dataclass
class Bench:
    """A transport over a roster, and what a run has around it."""

    roster: FakeRoster
    limits: Limits
    transport: RemoteTransport
    stored: list[str] = field(default_factory=list)  #: intents
    came_back: list[EngageRequest] = field(default_factory=list)
    sender: Sender = field(init=False)

    def __post_init__(self) -> None:
        clock = asyncio.get_running_loop().time
        admission = AdmissionControl(
            self.limits, Delivery(Mode.EXACTLY_ONCE, 86_400), clock, self._store, synced=False
        )
        self.sender = Sender(
            self.transport.send,
            admission.admit,
            self.limits,
            Retry(),
            breaker=Breaker(failures=3),
            came_back=self.came_back.append,
        )

    def _store(self, requests: list[EngageRequest]) -> None:
        self.stored += [one.request_id for one in requests]
        requests.clear()

    def begin(self, number: int = 1) -> tuple[EngageRequest, asyncio.Task[Verdict]]:
        one = request(number)
        return one, asyncio.create_task(self.sender.attempt_once(Attempt(one, one.request_id, 0.0, 0.0)))


@asynccontextmanager
async def bench(
    monkeypatch: pytest.MonkeyPatch,
    pace: Pace | None = None,
    demand: Demand | None = None,
    **senders: FakeSender,
) -> AsyncIterator[Bench]:
    one_clock(monkeypatch)
    limits, roster = Limits.create(Stop(), pace), FakeRoster(**senders)
    async with remote_transport(settings_for(None), limits, demand or Demand(), roster) as transport:
        yield Bench(roster, limits, transport)


def taken(*senders: FakeSender) -> list[int]:
    return [len(sender.taken) for sender in senders]


async def settle(seconds: float = 0.05) -> None:
    await asyncio.sleep(seconds)


async def test_requests_are_divided_among_the_senders(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = FakeSender(answer=None), FakeSender(answer=None)
    async with bench(monkeypatch, one=one, two=two) as run:
        tasks = [run.begin(number)[1] for number in range(10)]
        await settle()
        assert taken(one, two) == [5, 5]
        assert run.transport.in_flight.requests == 10
        for sender in (one, two):
            for handed in sender.taken:
                sender.end(handed.number, OK)
        assert {verdict.meaning for verdict in await asyncio.gather(*tasks)} == {Meaning.ACCEPTED}
        assert sorted(one.sent for one in run.transport.senders) == [5, 5]


async def test_requests_that_end_quickly_are_divided_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time: the share of one sender must not be the rate of the run."""
    one, two, three = FakeSender(), FakeSender(), FakeSender()
    async with bench(monkeypatch, one=one, two=two, three=three) as run:
        for number in range(9):
            await run.begin(number)[1]
        assert taken(one, two, three) == [3, 3, 3]


async def test_a_recalled_request_leaves_through_another_sender_and_its_intent_is_cleared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = FakeSender(answer=None), FakeSender()
    async with bench(monkeypatch, one=one) as run:
        sent, task = run.begin()
        await settle()
        run.roster.join("two", two)
        await settle()
        assert sent.history.first_left is not None
        one.end(one.taken[0].number, Recalled(), left_at=None)
        await settle(0.001)
        assert (run.came_back, sent.history) == ([sent], UNATTEMPTED)
        run.roster.leave("one")
        assert (await task).meaning is Meaning.ACCEPTED
        assert taken(one, two) == [1, 1]
        assert run.stored == [sent.request_id] * 2
        assert sent.history.attempts == 1
        assert one.taken[0].number != two.taken[0].number


async def test_a_lost_sender_leaves_a_doubt_that_is_not_of_the_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many are lost with it, the circuit breaker stays closed."""
    one, two = FakeSender(answer=None), FakeSender()
    async with bench(monkeypatch, one=one) as run:
        tasks = [run.begin(number)[1] for number in range(20)]
        await settle()
        run.roster.join("two", two)
        await settle()
        one.lose()
        verdicts = await asyncio.gather(*tasks)
        assert {(one.meaning, one.error) for one in verdicts} == {(Meaning.UNKNOWN, SENDER_LOST)}
        assert not run.came_back
        assert not run.limits.gate.shut
        assert (await run.begin(21)[1]).meaning is Meaning.ACCEPTED
        assert {state.name: state.lost for state in run.transport.senders} == {"one": True, "two": False}


async def test_a_probe_that_is_lost_with_its_sender_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The circuit stays open, and another probe leaves."""
    one, two = FakeSender(answer=Reply(502, b"")), FakeSender(answer=None)
    async with bench(monkeypatch, one=one) as run:
        await asyncio.gather(*[run.begin(number)[1] for number in range(3)])
        assert run.limits.gate.shut
        run.roster.leave("one")
        run.roster.join("two", two)
        probe, waiting = run.begin(4)[1], run.begin(5)[1]
        await settle(10)
        assert len(two.taken) == 1
        three = FakeSender()
        run.roster.join("three", three)
        two.lose()
        assert (await probe).error == SENDER_LOST
        assert (await waiting).meaning is Meaning.ACCEPTED
        assert not run.limits.gate.shut
        assert len(three.taken) == 1


async def test_nothing_is_handed_to_a_silent_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = FakeSender(), FakeSender()
    async with bench(monkeypatch, one=one, two=two) as run:
        await settle()
        one.reached.clear()
        await settle(2)
        for number in range(10):
            assert (await run.begin(number)[1]).meaning is Meaning.ACCEPTED
        assert taken(one, two) == [0, 10]


async def test_a_request_waits_for_a_sender_that_joins_late(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = FakeSender(), FakeSender()
    async with bench(monkeypatch, demand=Demand(at_least=2), one=one) as run:
        task = run.begin()[1]
        await settle(60)
        assert not task.done()
        assert not run.stored, "nothing is about to leave"
        run.roster.join("two", two)
        assert (await task).meaning is Meaning.ACCEPTED


async def test_too_few_senders_for_too_long_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = FakeSender(), FakeSender(fault="its token is missing")
    async with bench(monkeypatch, demand=Demand(2, patience=30.0), one=one, two=two) as run:
        task = run.begin()[1]
        await settle(29)
        assert not run.limits.stop.requested
        await settle(2)
        assert run.limits.stop.exit is Exit.STOPPED
        assert "two: its token is missing" in run.limits.stop.reason
        assert (await task).meaning is Meaning.NOT_SENT
        assert not run.stored


async def test_patience_begins_anew_when_there_are_enough_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = FakeSender(), FakeSender()
    async with bench(monkeypatch, demand=Demand(2, patience=30.0), one=one, two=two) as run:
        for _ in range(3):
            await settle(20)
            run.roster.leave("two")
            await settle(20)
            assert (await run.begin()[1]).meaning is Meaning.ACCEPTED, "meanwhile, the others send"
            run.roster.join("two", FakeSender())
        assert not run.limits.stop.requested


@pytest.mark.parametrize("reason", ["the scheduler is gone", ValueError("a fault of a library")])
async def test_without_a_roster_the_run_stops(reason: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = FakeSender(answer=None)
    async with bench(monkeypatch, one=one) as run:
        task = run.begin()[1]
        await settle()
        run.roster.end(reason)
        assert (await task).error == SENDER_LOST
        assert run.limits.stop.exit is Exit.STOPPED
        assert str(reason) in run.limits.stop.reason
        assert (await run.begin(2)[1]).meaning is Meaning.NOT_SENT


async def test_a_pause_recalls_what_every_sender_has(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = FakeSender(answer=None), FakeSender(answer=None)
    async with bench(monkeypatch, one=one, two=two) as run:
        tasks = [run.begin(number)[1] for number in range(4)]
        await settle()
        one.end(one.taken[0].number, Reply(429, b"", retry_after="7"))
        await settle()
        assert (one.recalls[-1], two.recalls[-1]) == (1, 1)
        for sender, handed in ((one, one.taken[1]), (two, two.taken[0]), (two, two.taken[1])):
            sender.end(handed.number, Recalled(), left_at=None)
        await settle(6.5)
        assert taken(one, two) == [2, 2], "nothing is handed out while the run pauses"
        one.answer = two.answer = OK
        verdicts = await asyncio.gather(*tasks)
        assert sorted(verdict.meaning.name for verdict in verdicts) == ["ACCEPTED"] * 3 + ["NOT_ACCEPTED"]
        assert len(run.came_back) == 3


async def test_a_request_that_comes_back_is_not_handed_out_in_a_storm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = FakeSender(answer=Recalled())
    async with bench(monkeypatch, one=one) as run:
        task = run.begin()[1]
        await settle(5)
        assert 10 <= len(one.taken) <= 51
        one.answer = OK
        assert (await task).meaning is Meaning.ACCEPTED


async def test_a_stop_recalls_and_what_left_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    one = FakeSender(answer=None)
    async with bench(monkeypatch, one=one) as run:
        left, back = run.begin(1)[1], run.begin(2)[1]
        await settle()
        run.limits.stop.request(Exit.STOPPED, "enough")
        await settle()
        assert one.recalls
        one.end(one.taken[1].number, Recalled(), left_at=None)
        one.end(one.taken[0].number, OK)
        assert (await left).meaning is Meaning.ACCEPTED
        assert (await back).meaning is Meaning.NOT_SENT
        assert len(run.came_back) == 1


async def test_shares_are_told_and_given_on_when_a_sender_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = FakeSender(), FakeSender()
    async with bench(monkeypatch, Pace(100.0), one=one) as run:
        await settle(1)
        assert one.shares == [100.0]
        run.roster.join("two", two)
        await settle(3)
        assert (one.shares, two.shares) == ([100.0, 50.0], [50.0])
        run.roster.leave("one")
        await settle(5.9)
        assert two.shares == [50.0], "what the lost one has may still leave"
        await settle(0.4)
        assert two.shares == [50.0, 100.0]
        assert (await run.begin()[1]).meaning is Meaning.ACCEPTED


async def test_without_a_share_a_sender_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    senders = {name: FakeSender() for name in ("one", "two", "three")}
    async with bench(monkeypatch, Pace(2.0), None, **senders) as run:
        await settle(3)
        assert sorted(sender.shares[-1:] for sender in senders.values()) == [[], [1.0], [1.0]]
        await asyncio.gather(*[run.begin(number)[1] for number in range(6)])
        idle = next(sender for sender in senders.values() if not sender.shares)
        assert not idle.taken


async def test_another_rate_becomes_other_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = FakeSender(), FakeSender()
    async with bench(monkeypatch, one=one, two=two) as run:
        await settle(1)
        assert (one.shares, two.shares) == ([], [])
        for rate in (100.0, 10.0, 40.0):
            run.limits.set_rate(rate)
            await settle(4)
        assert one.shares == two.shares == [50.0, 5.0, 20.0]


async def test_a_sender_takes_the_place_of_one_of_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = FakeSender(), FakeSender()
    async with bench(monkeypatch, Pace(10.0), one=one) as run:
        await settle(1)
        one.lose()
        await asyncio.wait([run.roster.tasks["one"]])
        run.roster.join("one", other)
        assert (await run.begin()[1]).meaning is Meaning.ACCEPTED
        assert (taken(one, other), other.shares) == ([0, 1], [10.0])
        assert [state.lost for state in run.transport.senders] == [False]


async def test_every_sender_ends_with_the_run_also_beside_one_that_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = FakeSender(), FakeSender()
    async with bench(monkeypatch, one=one, two=two) as run:
        await settle()
        one.reached.clear()
    assert two.is_closed
    assert run.roster.is_closed
    assert all(task.done() for task in run.roster.tasks.values())
    assert not caplog.records, "no sender is lost at the end of a run"
