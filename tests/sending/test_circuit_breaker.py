"""The circuit breaker in virtual time: during an outage only single probes leave."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace

import pytest

from engager.errors import Exit
from engager.models import Ending, EngageRequest, Lost, NotSent, Reply, Row, Status, Withheld
from engager.policies.circuit_breaker import Breaker
from engager.policies.delivery import Delivery
from engager.policies.rate import Pace
from engager.policies.retry import Retry
from engager.sending.admission import AdmissionControl
from engager.sending.limits import Limits, RateLimiter, RetryBudget
from engager.sending.pause import BREAKER, PauseGate
from engager.sending.retry import Engage, with_retry
from engager.sending.sender import Sender
from engager.sending.stop import Stop
from engager.sending.transport.base import Admission, is_admitted

OK = Reply(200, b'{"data":null,"error":0,"error_text":"Successful operation"}')
REJECTION = Reply(200, b'{"data":null,"error":440,"error_text":"no such profile"}')


class Endpoint:
    """Has one outage: it refuses connections, or receives requests and never responds."""

    def __init__(self, begin: float, end: float, down: Ending) -> None:
        self._begin, self._end, self._down = begin, end, down
        self.missed: list[float] = []
        self.responded: list[float] = []

    async def send(self, body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        now = asyncio.get_running_loop().time
        if self._begin <= now() < self._end and isinstance(self._down, NotSent):
            self.missed.append(now())
            return self._down
        if not await is_admitted(admission):
            return Withheld()
        if self._begin <= now() < self._end:
            self.missed.append(now())
            return self._down
        self.responded.append(now())
        await asyncio.sleep(0.05)
        return OK


def compose(
    endpoint: Endpoint | SimpleNamespace,
    breaker: Breaker | None,
    gate: PauseGate,
    stop: Stop,
    pace: Pace | None,
    attempts: int = 6,
) -> Engage:
    clock, retry = asyncio.get_running_loop().time, Retry(attempts=attempts, base_delay=1, max_delay=10)
    limits = Limits(stop, gate, RateLimiter(pace, stop, gate))
    admit = AdmissionControl(limits, Delivery(), clock, list.clear, False).admit
    return with_retry(
        Sender(endpoint.send, admit, limits, retry, breaker=breaker).attempt_once,
        retry,
        Delivery(),
        RetryBudget(100, 100),
        stop,
        lambda first, version: first,
        lambda request: None,
        clock,
    ).engage


async def run(engage: Engage, rows: int, concurrency: int) -> list[Status | None]:
    numbers, statuses = iter(range(1, rows + 1)), list[Status | None]()

    async def work() -> None:
        for n in numbers:
            outcome = await engage(EngageRequest(Row(n, n, "f", []), "k", f"id-{n}", (b"{}",)))
            statuses.append(None if outcome is None else outcome.status)

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return statuses


DOWN: list[Ending] = [
    NotSent("connect_failed", "refused"),
    Lost("timeout", "silence"),
    Reply(502, b"<html>nginx</html>"),
]


@pytest.mark.virtual_time
@pytest.mark.parametrize("down", DOWN, ids=["refused", "silent", "gateway"])
@pytest.mark.parametrize("pace", [None, Pace(200)], ids=["free", "paced"])
async def test_an_outage_loses_no_row_and_is_probed_by_single_requests(
    down: Ending, pace: Pace | None
) -> None:
    stop = Stop()
    gate, endpoint = PauseGate(stop), Endpoint(2.0, 500.0, down)
    engage = compose(endpoint, Breaker(failures=20, pause=30, longest_pause=120), gate, stop, pace)
    statuses = await run(engage, 3000, 16)
    assert statuses.count(Status.ENGAGED) == 3000
    # Requests that were in flight when the breaker opened miss too; after them one at a time.
    probes = [moment for moment in endpoint.missed if moment > 4.0]
    assert 4 <= len(probes) <= 8
    assert all(later - earlier >= 59 for earlier, later in pairwise(probes))
    assert min(moment for moment in endpoint.responded if moment > 2.1) >= 500
    assert not gate.holders


@pytest.mark.virtual_time
async def test_rejected_rows_do_not_open_the_breaker() -> None:
    stop = Stop()
    gate, endpoint = PauseGate(stop), Endpoint(0.0, 1e9, REJECTION)
    statuses = await run(compose(endpoint, Breaker(failures=2, pause=30), gate, stop, None), 200, 4)
    assert statuses == [Status.REJECTED] * 200
    assert asyncio.get_running_loop().time() < 30


@pytest.mark.virtual_time
async def test_another_pause_delays_the_probe() -> None:
    stop = Stop()
    gate, endpoint = PauseGate(stop), Endpoint(1.0, 40.0, DOWN[0])
    gate.pause("window")
    asyncio.get_running_loop().call_later(1.5, gate.resume, "window")
    asyncio.get_running_loop().call_later(10, gate.pause, "window")
    asyncio.get_running_loop().call_later(300, gate.resume, "window")
    statuses = await run(compose(endpoint, Breaker(failures=3, pause=30), gate, stop, None), 40, 4)
    assert statuses == [Status.ENGAGED] * 40
    assert min(endpoint.responded) >= 300


@pytest.mark.virtual_time
async def test_a_pause_delays_a_probe_that_waits_for_the_rate() -> None:
    stop, loop = Stop(), asyncio.get_running_loop()
    gate, endpoint = PauseGate(stop), Endpoint(0.0, 1.0, DOWN[2])
    engage = compose(endpoint, Breaker(failures=1, pause=1), gate, stop, Pace(0.1))
    loop.call_later(5, gate.pause, "window")
    loop.call_later(50, gate.resume, "window")
    assert await run(engage, 3, 1) == [Status.ENGAGED] * 3
    assert min(endpoint.responded) >= 50


@pytest.mark.virtual_time
@pytest.mark.parametrize(("pause", "longest_pause"), [(30, 30), (30, 600), (7, 80), (300, 600)])
@pytest.mark.parametrize("pace", [None, Pace(5)], ids=["free", "paced"])
async def test_the_breaker_gives_up_after_the_configured_time(
    pause: float, longest_pause: float, pace: Pace | None
) -> None:
    """Not when the next probe would have been due, which may be long after."""
    stop = Stop()
    gate, endpoint = PauseGate(stop), Endpoint(0.0, 1e9, DOWN[0])
    breaker = Breaker(failures=3, pause=pause, longest_pause=longest_pause, give_up=100)
    statuses = await run(compose(endpoint, breaker, gate, stop, pace), 40, 4)
    assert (stop.exit, "breaker.give_up" in stop.reason) == (Exit.STOPPED, True)
    assert set(statuses) == {None}
    assert 100 <= endpoint.missed[-1] <= 110  # the rows may wait between two attempts


@pytest.mark.virtual_time
async def test_an_endpoint_that_recovers_in_time_is_not_given_up() -> None:
    stop = Stop()
    gate, endpoint = PauseGate(stop), Endpoint(0.0, 95.0, DOWN[0])
    breaker = Breaker(failures=3, pause=30, longest_pause=600, give_up=100)
    assert await run(compose(endpoint, breaker, gate, stop, None), 40, 4) == [Status.ENGAGED] * 40


@pytest.mark.virtual_time
async def test_a_probe_of_a_past_outage_is_not_sent_in_the_next() -> None:
    """A late success closes the breaker before its probe is due."""
    stop, loop = Stop(), asyncio.get_running_loop()
    gate, asked = PauseGate(stop), list[float]()

    async def send(body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        if not await is_admitted(admission):
            return Withheld()
        asked.append(loop.time())
        await asyncio.sleep(10 if request_id == "id-1" else 0.1)
        return OK if request_id == "id-1" else NotSent("connect_failed", "refused")

    engage = compose(SimpleNamespace(send=send), Breaker(failures=2, pause=30), gate, stop, None)
    loop.call_later(200, stop.request, Exit.INTERRUPTED, "enough")
    await run(engage, 20, 5)
    later = [moment for moment in asked if moment > 13]
    assert all(after - before >= 29 for before, after in pairwise(later))


@pytest.mark.virtual_time
async def test_an_unused_probe_is_not_saved_for_the_next_outage() -> None:
    gate, loop = PauseGate(Stop()), asyncio.get_running_loop()
    gate.pause(BREAKER)
    gate.allow_probe()
    gate.resume(BREAKER)
    gate.pause(BREAKER)
    loop.call_later(30, gate.allow_probe)
    assert await gate.wait()
    assert loop.time() >= 30


@pytest.mark.virtual_time
async def test_a_stop_releases_every_waiting_worker() -> None:
    stop = Stop()
    gate, endpoint = PauseGate(stop), Endpoint(0.0, 1e9, DOWN[0])
    engage = compose(endpoint, Breaker(failures=3, pause=3000), gate, stop, None)
    asyncio.get_running_loop().call_later(50, stop.request, Exit.INTERRUPTED, "Ctrl-C")
    await run(engage, 40, 4)
    assert asyncio.get_running_loop().time() < 60
    assert "connect_failed" in gate.holders[BREAKER]  # the reason is for those who watch the run


@pytest.mark.virtual_time
async def test_a_request_that_waits_for_the_rate_can_be_the_probe() -> None:
    stop = Stop()
    gate, endpoint = PauseGate(stop), Endpoint(0.0, 0.7, DOWN[2])
    engage = compose(endpoint, Breaker(failures=10, pause=1), gate, stop, Pace(20), attempts=1)
    statuses = await run(engage, 30, 30)  # a row for each worker
    assert len(statuses) == 30
    assert statuses.count(Status.ENGAGED) >= 15
    assert not gate.holders
