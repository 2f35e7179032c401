"""The slow start: few requests are in flight until the endpoint has accepted a row."""

from __future__ import annotations

import asyncio

import pytest

from engager.errors import Exit
from engager.models import (
    Ending,
    Reply,
    Status,
)
from engager.policies.retry import Retry
from engager.policies.slow_start import SlowStart
from engager.sending.stop import Stop
from engager.sending.transport.base import Admission
from tests.sending.scripted import (
    BUSY,
    OK,
    REJECTION,
    Script,
    compose,
    request,
)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("first", "left"), [(BUSY, 1), (REJECTION, 1 + 3), (OK, 20)], ids=["gateway", "rejected", "engaged"]
)
async def test_a_slow_start_limits_the_requests_in_flight(first: Ending, left: int) -> None:
    """One until the endpoint responds in its own form, and three until it accepts a row."""
    script = Script(first)
    engage = compose(script, slow_start=SlowStart(all_rejected=3), retry=Retry(9, base_delay=0.01))
    outcomes = await asyncio.gather(*(engage(request(n)) for n in range(20)))
    assert None not in outcomes
    assert sum(moment < 0.09 for moment, _ in script.left) == left


@pytest.mark.virtual_time
@pytest.mark.parametrize("code", [0, 400, 409, 429, 500, 503])
async def test_without_a_bound_on_rejected_rows_any_response_of_the_endpoint_ends_the_slow_start(
    code: int,
) -> None:
    first = Reply(200, b'{"data":null,"error":%d,"error_text":""}' % code)
    script, stop = Script(first), Stop()
    engage = compose(script, slow_start=SlowStart(all_rejected=0), stop=stop)
    asyncio.get_running_loop().call_later(1000, stop.request, Exit.STOPPED, "it would never end")
    outcomes = await asyncio.gather(*(engage(request(n)) for n in range(20)))
    assert None not in outcomes
    assert stop.exit is None


@pytest.mark.virtual_time
async def test_a_row_that_failed_in_the_slow_start_uses_up_its_attempts_after_it() -> None:
    script = Script()

    async def send(body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        ending = await script(body, request_id, admission)
        return BUSY if request_id == "id-0" else ending

    stop, retry = Stop(), Retry(attempts=3, base_delay=5, max_delay=5)
    engage = compose(send, slow_start=SlowStart(), retry=retry, stop=stop)
    asyncio.get_running_loop().call_later(1000, stop.request, Exit.STOPPED, "it would never end")
    first, *others = await asyncio.gather(*(engage(request(n)) for n in range(3)))
    assert [other and other.status for other in others] == [Status.ENGAGED] * 2
    assert first is not None
    assert (first.status, first.attempts) == (Status.FAILED, 3)
