"""Stops and pauses of a run: no wait delays them, and no row loses an attempt."""

from __future__ import annotations

import asyncio

import pytest

from engager.errors import Exit
from engager.models import (
    Reply,
    Status,
)
from engager.policies.rate import Pace
from engager.policies.retry import Retry
from engager.sending.stop import Stop
from tests.sending.scripted import (
    BUSY,
    OK,
    REFUSED,
    Script,
    compose,
    request,
    settle,
)


@pytest.mark.virtual_time
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_pauses_every_row(status: int) -> None:
    script = Script(OK, OK, Reply(status, b"", retry_after="30"), seconds=0)
    engage = compose(script, pace=Pace(10))
    outcomes = await asyncio.gather(*(engage(request(number)) for number in range(30)))
    times = sorted(moment for moment, _ in script.left)
    assert times[2] < 1
    assert times[3] >= 30
    # after the pause the rate limit is as before
    assert all(b - a > 0.99 for a, b in zip(times[3:], times[13:], strict=False))
    assert all(outcome and outcome.status is Status.ENGAGED for outcome in outcomes)


@pytest.mark.virtual_time
async def test_an_endpoint_that_asks_for_too_long_a_pause_stops_the_run() -> None:
    stop = Stop()
    assert await compose(Script(Reply(503, b"", retry_after="86400")), stop=stop)(request()) is None
    assert stop.exit is Exit.STOPPED


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("code", "why"), [(401, "token"), (402, "tariff"), (403, "rights")], ids=["401", "402", "403"]
)
async def test_an_error_of_the_account_stops_the_run_and_settles_no_row(code: int, why: str) -> None:
    stop = Stop()
    body = b'{"data":null,"error":%d,"error_text":"as the endpoint says"}' % code
    assert await compose(Script(Reply(200, body)), stop=stop)(request()) is None
    assert stop.exit is Exit.STOPPED
    assert why in stop.reason
    assert "as the endpoint says" in stop.reason


@pytest.mark.virtual_time
async def test_a_stop_ends_every_wait_and_leaves_the_row_due() -> None:
    stop, loop = Stop(), asyncio.get_running_loop()
    engage = compose(Script(BUSY, BUSY), stop=stop, retry=Retry(base_delay=3600, max_delay=3600))
    loop.call_later(0.5, stop.request, Exit.INTERRUPTED, "Ctrl-C")
    assert await engage(request()) is None
    assert loop.time() < 1


@pytest.mark.virtual_time
async def test_a_stop_finishes_the_requests_in_flight() -> None:
    stop = Stop()
    asyncio.get_running_loop().call_later(0.01, stop.request, Exit.INTERRUPTED, "Ctrl-C")
    outcome = await settle(compose(Script(OK, seconds=5), stop=stop))
    assert outcome.status is Status.ENGAGED


@pytest.mark.virtual_time
async def test_a_repeated_fatal_error_does_not_stop_the_run() -> None:
    stop = Stop()
    old = Reply(200, b'{"data":null,"error":402,"error_text":"tariff"}', duplicate=True)
    script = Script(old, OK)
    outcome = await settle(compose(script, stop=stop))
    assert (outcome.status, stop.requested) == (Status.ENGAGED, False)
    assert len({request_id for _, request_id in script.left}) == 2


@pytest.mark.virtual_time
async def test_a_stop_in_an_outage_leaves_rows_due_and_uses_up_no_attempts() -> None:
    stop = Stop()
    asyncio.get_running_loop().call_later(0.5, stop.request, Exit.INTERRUPTED, "enough")
    engage = compose(Script(*[REFUSED] * 99), stop=stop, retry=Retry(50, base_delay=1, max_delay=8))
    assert await asyncio.gather(*(engage(request(n)) for n in range(20))) == [None] * 20
