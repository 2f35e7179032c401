"""Admission: the intent is stored before the first byte leaves, also with a slow disk."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from engager.errors import Exit
from engager.models import (
    Ending,
    EngageRequest,
    Status,
)
from engager.policies.delivery import Delivery
from engager.policies.rate import Pace
from engager.sending.admission import AdmissionControl
from engager.sending.attempt import Attempt
from engager.sending.limits import Limits
from engager.sending.pause import PauseGate
from engager.sending.stop import Stop
from engager.sending.transport.base import Admission, SendBatch, is_admitted
from tests.sending.scripted import (
    OK,
    REFUSED,
    SILENT,
    Script,
    compose,
    departures_in_a_second,
    done_after,
    recording,
    request,
    settle,
)


@pytest.mark.virtual_time
async def test_the_intent_is_stored_once_per_sent_attempt() -> None:
    intents: list[str] = []
    await settle(compose(Script(REFUSED, SILENT, OK), before_send=recording(intents)))
    assert intents == ["id-1", "id-1"]


@pytest.mark.virtual_time
async def test_requests_that_waited_for_the_disk_do_not_leave_in_a_burst() -> None:
    def slow_once(requests: list[EngageRequest]) -> asyncio.Future[None]:
        return done_after(3 if asyncio.get_running_loop().time() < 1 else 0)

    script = Script()
    engage = compose(script, pace=Pace(20), before_send=slow_once, synced=True)
    await asyncio.gather(*(engage(request(n)) for n in range(100)))
    assert len(script.left) == 100
    assert departures_in_a_second(script) <= 20


@pytest.mark.virtual_time
@pytest.mark.parametrize("pace", [None, Pace(5)])
async def test_requests_that_waited_for_the_disk_beyond_the_window_wait_for_the_next(
    pace: Pace | None,
) -> None:
    gate, loop, script = PauseGate(Stop()), asyncio.get_running_loop(), Script()
    engage = compose(script, pace=pace, before_send=lambda _: done_after(3), synced=True, gate=gate)
    loop.call_later(1, gate.pause, "window")
    loop.call_later(100, gate.resume, "window")
    outcomes = await asyncio.gather(*(engage(request(n)) for n in range(8)))
    assert all(outcome and outcome.status is Status.ENGAGED for outcome in outcomes)
    assert min(moment for moment, _ in script.left) >= 100
    assert pace is None or departures_in_a_second(script) <= 5


@pytest.mark.virtual_time
@pytest.mark.parametrize("pace", [None, Pace(5)])
async def test_requests_that_waited_for_the_disk_do_not_leave_after_a_stop(pace: Pace | None) -> None:
    stop, script = Stop(), Script()
    engage = compose(script, pace=pace, before_send=lambda _: done_after(3), synced=True, stop=stop)
    asyncio.get_running_loop().call_later(1, stop.request, Exit.INTERRUPTED, "Ctrl-C")
    assert await asyncio.gather(*(engage(request(n)) for n in range(8))) == [None] * 8
    assert script.left == []


@pytest.mark.virtual_time
@pytest.mark.parametrize("pace", [None, Pace(5)])
async def test_every_request_that_leaves_is_stored_before(pace: Pace | None) -> None:
    stored: list[str] = []
    script = Script()

    async def send(body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        assert await is_admitted(admission)
        assert request_id in stored
        return await script(body, request_id, lambda: True)

    engage = compose(send, pace=pace, before_send=recording(stored))
    await asyncio.gather(*(engage(request(n)) for n in range(4)))
    assert stored == [f"id-{n}" for n in range(4)]


@pytest.mark.virtual_time
async def test_requests_of_one_sync_leave_together() -> None:
    loop = asyncio.get_running_loop()
    stored, limits = loop.create_future(), Limits.create(Stop(), None)
    admit = AdmissionControl(limits, Delivery(), loop.time, lambda _: stored, True).admit
    first, second, third = (Attempt(request(n), f"id-{n}", 0.0, 0.0) for n in (1, 2, 3))
    batch = admit(first)
    assert isinstance(batch, SendBatch)
    assert admit(second) is batch
    stored = loop.create_future()
    assert admit(third) is not batch


@pytest.mark.virtual_time
async def test_an_attempt_whose_connection_was_closed_does_not_queue_again() -> None:
    """Otherwise a server that closes idle connections would get no request at a low rate."""
    left: list[float] = []

    async def admitted_twice(body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        assert await is_admitted(admission)
        await asyncio.sleep(0.01)
        assert await is_admitted(admission)
        left.append(asyncio.get_running_loop().time())
        return OK

    engage = compose(admitted_twice, pace=Pace(1))
    await asyncio.gather(*(engage(request(n)) for n in range(10)))
    assert left[-1] < 11
    assert all(after - before >= 0.98 for before, after in pairwise(left))
