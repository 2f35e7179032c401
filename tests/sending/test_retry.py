"""Whole rows in virtual time, against a script instead of a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engager.errors import Exit
from engager.models import (
    AttemptHistory,
    Ending,
    EngageRequest,
    Lost,
    NotSent,
    Outcome,
    Reply,
    Row,
    Status,
    Withheld,
)
from engager.policies.delivery import Delivery, Mode
from engager.policies.rate import Pace
from engager.policies.retry import Retry
from engager.policies.rules import SlowStart
from engager.sending.admission import AdmissionControl, BeforeSend
from engager.sending.attempt import Attempt
from engager.sending.limits import Limits, PauseGate, RateLimiter, RetryBudget, Stop
from engager.sending.retry import Engage, with_retry
from engager.sending.sender import Send, Sender
from engager.sending.transport.base import Admission, SendBatch, is_admitted
from tests.conftest import VirtualLoop

OK = Reply(200, b'{"data":null,"error":0,"error_text":"Successful operation"}')
NO = Reply(200, b'{"data":null,"error":400,"error_text":"no such profile"}')
BUSY = Reply(503, b"")
TOO_MANY = Reply(429, b"")
REFUSED = NotSent("connect_failed", "refused")
SILENT = Lost("timeout", "silence")
REPLAYED = Reply(200, b'{"data":null,"error":500,"error_text":"fault"}', duplicate=True)


class Script:
    """A transport that ends its attempts as given, each after `seconds`, and records what left."""

    def __init__(self, *endings: Ending, seconds: float = 0.05) -> None:
        self._endings = list(endings)
        self._seconds = seconds
        self.left: list[tuple[float, str]] = []

    async def __call__(self, body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        ending = self._endings.pop(0) if self._endings else OK
        if isinstance(ending, NotSent):
            return ending
        if not await is_admitted(admission):
            return Withheld()
        self.left.append((asyncio.get_running_loop().time(), request_id))
        await asyncio.sleep(self._seconds)
        return ending


def compose(
    script: Send,
    *,
    mode: Mode = Mode.EXACTLY_ONCE,
    retry: Retry | None = None,
    pace: Pace | None = None,
    stop: Stop | None = None,
    before_send: BeforeSend = list.clear,
    synced: bool = False,
    window: float = 86_400,
    gate: PauseGate | None = None,
    slow_start: SlowStart | None = None,
) -> Engage:
    stop = stop or Stop()
    retry = retry or Retry(attempts=4, base_delay=1, max_delay=8)
    gate = gate or PauseGate(stop)
    clock = asyncio.get_running_loop().time
    limits = Limits(stop, gate, RateLimiter(pace, stop, gate))
    admission = AdmissionControl(limits, Delivery(mode, window), clock, before_send, synced)
    return with_retry(
        Sender(script, admission.admit, limits, retry, slow_start=slow_start).attempt_once,
        retry,
        Delivery(mode, window),
        RetryBudget(retry.budget_rate, retry.budget_reserve),
        stop,
        lambda first, generation: f"{first}.{generation}",
        lambda request: None,
        clock,
    )


def noting(stored: list[str]) -> BeforeSend:
    """A store that notes the request ids of what leaves."""

    def before_send(requests: list[EngageRequest]) -> None:
        stored.extend(request.request_id for request in requests)
        requests.clear()

    return before_send


def request(number: int = 1) -> EngageRequest:
    return EngageRequest(Row(number, number + 1, "people.csv", []), "a@example.com", f"id-{number}", (b"{}",))


async def settle(engage: Engage) -> Outcome:
    outcome = await engage(request())
    assert outcome is not None
    return outcome


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("mode", "endings", "status", "attempts"),
    [
        (Mode.EXACTLY_ONCE, [OK], Status.ENGAGED, 1),
        (Mode.EXACTLY_ONCE, [NO], Status.REJECTED, 1),
        (Mode.EXACTLY_ONCE, [BUSY, REFUSED, SILENT, OK], Status.ENGAGED, 4),
        (Mode.EXACTLY_ONCE, [BUSY] * 9, Status.FAILED, 4),
        (Mode.EXACTLY_ONCE, [REFUSED] * 9, Status.FAILED, 4),
        (Mode.EXACTLY_ONCE, [SILENT] * 9, Status.IN_DOUBT, 4),
        (Mode.EXACTLY_ONCE, [SILENT, BUSY, BUSY, BUSY], Status.IN_DOUBT, 4),
        (Mode.AT_MOST_ONCE, [SILENT, OK], Status.IN_DOUBT, 1),
        (Mode.AT_MOST_ONCE, [REFUSED, TOO_MANY, SILENT, OK], Status.IN_DOUBT, 3),
        (Mode.AT_MOST_ONCE, [BUSY, OK], Status.IN_DOUBT, 1),
        (Mode.AT_LEAST_ONCE, [SILENT, SILENT, OK], Status.ENGAGED, 3),
    ],
)
async def test_a_row_is_tried_until_it_is_settled(
    mode: Mode, endings: Sequence[Ending], status: Status, attempts: int
) -> None:
    outcome = await settle(compose(Script(*endings), mode=mode))
    assert (outcome.status, outcome.attempts) == (status, attempts)


@pytest.mark.virtual_time
async def test_the_request_id_is_stable_until_its_answer_is_repeated() -> None:
    script = Script(SILENT, BUSY, REPLAYED, OK)
    outcome = await settle(compose(script))
    assert [id_ for _, id_ in script.left] == ["id-1", "id-1", "id-1", "id-1.1"]
    assert outcome.request_id == "id-1.1"


@pytest.mark.virtual_time
async def test_the_intent_is_written_before_every_byte_and_only_then() -> None:
    intents: list[str] = []
    await settle(compose(Script(REFUSED, SILENT, OK), before_send=noting(intents)))
    assert intents == ["id-1", "id-1"]


@pytest.mark.virtual_time
async def test_waits_between_tries_grow_and_are_jittered() -> None:
    longest = [0.0] * 3
    for _ in range(200):
        script = Script(BUSY, BUSY, BUSY, seconds=0)
        await settle(compose(script))
        times = [moment for moment, _ in script.left]
        longest = [max(old, b - a) for old, a, b in zip(longest, times, times[1:], strict=False)]
    for waited, row_limit in zip(longest, (1, 2, 4), strict=True):
        assert 0.9 * row_limit < waited <= row_limit + 0.01


@pytest.mark.virtual_time
async def test_retries_are_paced_like_first_tries() -> None:
    script = Script(*[BUSY] * 50, seconds=0)
    engage = compose(script, pace=Pace(10), retry=Retry(attempts=20, base_delay=0.01, max_delay=0.01))
    await asyncio.gather(*(engage(request(number)) for number in range(20)))
    times = [moment for moment, _ in script.left]
    assert len(times) == 70
    assert all(b - a > 0.99 for a, b in zip(times, times[10:], strict=False))


@pytest.mark.virtual_time
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_pauses_everybody(status: int) -> None:
    script = Script(OK, OK, Reply(status, b"", retry_after="30"), seconds=0)
    engage = compose(script, pace=Pace(10))
    outcomes = await asyncio.gather(*(engage(request(number)) for number in range(30)))
    times = sorted(moment for moment, _ in script.left)
    assert times[2] < 1
    assert times[3] >= 30
    # and behind the pause the pace holds as ever
    assert all(b - a > 0.99 for a, b in zip(times[3:], times[13:], strict=False))
    assert all(outcome and outcome.status is Status.ENGAGED for outcome in outcomes)


@pytest.mark.virtual_time
async def test_waiting_is_shown_apart_from_latency() -> None:
    engage = compose(Script(Reply(429, b"", retry_after="30")))
    outcome = await settle(engage)
    assert outcome.latency_ms == pytest.approx(50, abs=1)
    assert outcome.waited_ms == pytest.approx(30_000, abs=10)


@pytest.mark.virtual_time
async def test_an_endpoint_that_asks_for_too_long_a_pause_stops_the_run() -> None:
    stop = Stop()
    assert await compose(Script(Reply(503, b"", retry_after="86400")), stop=stop)(request()) is None
    assert stop.exit is Exit.STOPPED


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("code", "why"), [(401, "token"), (402, "tariff"), (403, "rights")], ids=["401", "402", "403"]
)
async def test_an_endpoint_that_refuses_everything_stops_the_run_and_costs_no_row(
    code: int, why: str
) -> None:
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
async def test_what_is_in_flight_at_a_stop_is_finished() -> None:
    stop = Stop()
    asyncio.get_running_loop().call_later(0.01, stop.request, Exit.INTERRUPTED, "Ctrl-C")
    outcome = await settle(compose(Script(OK, seconds=5), stop=stop))
    assert outcome.status is Status.ENGAGED


@pytest.mark.virtual_time
async def test_an_outage_does_not_multiply_the_load() -> None:
    script = Script(*[BUSY] * 100_000, seconds=0)
    retry = Retry(attempts=5, base_delay=0.01, max_delay=0.01, budget_rate=10, budget_reserve=100)
    engage = compose(script, retry=retry)
    numbers = iter(range(10_000))
    stop_at = asyncio.get_running_loop().time() + 60

    async def worker() -> None:
        while asyncio.get_running_loop().time() < stop_at:
            await engage(request(next(numbers)))

    await asyncio.gather(*(worker() for _ in range(8)))
    # the reserve, the trickle, and a first try for every four retries
    assert len(script.left) < (100 + 60 * 10) * 1.25 + 20


#: Endings by their effect on a doubt; each is identified by the number in its text.
RAISING = (
    lambda n: Lost("timeout", f"silence {n}"),
    lambda n: Reply(502, b"broken %d" % n),
    lambda n: Reply(200, b'{"error":500,"error_text":"fault %d"}' % n),
)
SETTLING = (lambda n: Reply(200, b'{"error":500,"error_text":"repeated %d"}' % n, duplicate=True),)
KEEPING = (
    lambda n: NotSent("connect_failed", f"refused {n}"),
    lambda n: Reply(429, b"busy %d" % n),
    lambda n: Reply(404, b"<p>nobody %d</p>" % n),
)


@settings(deadline=None)
@given(
    st.sampled_from(Mode),
    st.lists(st.sampled_from([*RAISING, *SETTLING, *KEEPING]), min_size=4, max_size=4),
    st.sampled_from([None, "interrupted", "before this pass"]),
)
def test_a_row_in_doubt_names_the_ending_that_made_it_so(
    mode: Mode, makes: list[Callable[[int], Ending]], past: str | None
) -> None:
    tried = request()
    tried.history = AttemptHistory(in_doubt=past is not None, first_left=0, forced=past == "before this pass")

    async def settled() -> Outcome | None:
        script = Script(*[make(number) for number, make in enumerate(makes)], seconds=0)
        return await compose(script, mode=mode)(tried)

    with closing(VirtualLoop()) as loop:
        outcome = loop.run_until_complete(settled())
    doubt = past
    for number, make in enumerate(makes[: tried.history.attempts]):
        settles = make in SETTLING and past != "before this pass"
        if settles or (make in RAISING and doubt is None):
            doubt = None if settles else str(number)
    assert outcome is not None
    assert (outcome.status is Status.IN_DOUBT) == (doubt is not None)
    if doubt is not None:
        reported, _, then = (outcome.error_text or "").partition("; then: ")
        assert doubt in reported
        last = tried.history.attempts - 1
        assert last < 0 or str(last) in (reported if doubt == str(last) else then)


def after(seconds: float) -> asyncio.Future[None]:
    """A disk that has everything so much later."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    if seconds:
        loop.call_later(seconds, done.set_result, None)
    else:
        done.set_result(None)
    return done


def departures_in_a_second(script: Script) -> int:
    times = [moment for moment, _ in script.left]
    return max(sum(begin <= moment < begin + 1 for moment in times) for begin in times)


@pytest.mark.virtual_time
async def test_a_repeat_that_waited_beyond_the_window_does_not_leave() -> None:
    """The window is judged when the repeat would leave, not when it was decided on."""
    retry = Retry(attempts=5, base_delay=100, max_delay=100)
    script = Script(SILENT, SILENT, SILENT, SILENT, SILENT)
    engage = compose(script, retry=retry, window=60)
    outcome = await settle(engage)
    assert outcome.status is Status.IN_DOUBT
    assert max(moment for moment, _ in script.left) < 60


@pytest.mark.virtual_time
async def test_a_refusal_that_is_repeated_does_not_stop_the_run_again() -> None:
    stop = Stop()
    old = Reply(200, b'{"data":null,"error":402,"error_text":"tariff"}', duplicate=True)
    script = Script(old, OK)
    outcome = await settle(compose(script, stop=stop))
    assert (outcome.status, stop.requested) == (Status.ENGAGED, False)
    assert len({request_id for _, request_id in script.left}) == 2


@pytest.mark.virtual_time
async def test_a_stop_in_an_outage_leaves_rows_due_and_does_not_use_their_tries_up() -> None:
    stop = Stop()
    asyncio.get_running_loop().call_later(0.5, stop.request, Exit.INTERRUPTED, "enough")
    engage = compose(Script(*[REFUSED] * 99), stop=stop, retry=Retry(50, base_delay=1, max_delay=8))
    assert await asyncio.gather(*(engage(request(n)) for n in range(20))) == [None] * 20


@pytest.mark.virtual_time
async def test_what_a_slow_disk_held_up_does_not_leave_in_a_bunch() -> None:
    def slow_once(requests: list[EngageRequest]) -> asyncio.Future[None]:
        return after(3 if asyncio.get_running_loop().time() < 1 else 0)

    script = Script()
    engage = compose(script, pace=Pace(20), before_send=slow_once, synced=True)
    await asyncio.gather(*(engage(request(n)) for n in range(100)))
    assert len(script.left) == 100
    assert departures_in_a_second(script) <= 20


@pytest.mark.virtual_time
@pytest.mark.parametrize("pace", [None, Pace(5)])
async def test_what_a_slow_disk_held_up_until_the_hours_were_over_waits_for_the_next(
    pace: Pace | None,
) -> None:
    gate, loop, script = PauseGate(Stop()), asyncio.get_running_loop(), Script()
    engage = compose(script, pace=pace, before_send=lambda _: after(3), synced=True, gate=gate)
    loop.call_later(1, gate.pause, "window")
    loop.call_later(100, gate.resume, "window")
    outcomes = await asyncio.gather(*(engage(request(n)) for n in range(8)))
    assert all(outcome and outcome.status is Status.ENGAGED for outcome in outcomes)
    assert min(moment for moment, _ in script.left) >= 100
    assert pace is None or departures_in_a_second(script) <= 5


@pytest.mark.virtual_time
@pytest.mark.parametrize("pace", [None, Pace(5)])
async def test_what_a_slow_disk_held_up_until_a_stop_does_not_leave(pace: Pace | None) -> None:
    stop, script = Stop(), Script()
    engage = compose(script, pace=pace, before_send=lambda _: after(3), synced=True, stop=stop)
    asyncio.get_running_loop().call_later(1, stop.request, Exit.INTERRUPTED, "Ctrl-C")
    assert await asyncio.gather(*(engage(request(n)) for n in range(8))) == [None] * 8
    assert script.left == []


@pytest.mark.virtual_time
@pytest.mark.parametrize("pace", [None, Pace(5)])
async def test_what_leaves_was_written_down(pace: Pace | None) -> None:
    stored: list[str] = []
    script = Script()

    async def send(body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        assert await is_admitted(admission)
        assert request_id in stored
        return await script(body, request_id, lambda: True)

    engage = compose(send, pace=pace, before_send=noting(stored))
    await asyncio.gather(*(engage(request(n)) for n in range(4)))
    assert stored == [f"id-{n}" for n in range(4)]


@pytest.mark.virtual_time
async def test_who_is_held_by_one_sync_is_held_as_one() -> None:
    loop = asyncio.get_running_loop()
    stored, limits = loop.create_future(), Limits.of(Stop(), None)
    admit = AdmissionControl(limits, Delivery(), loop.time, lambda _: stored, True).admit
    first, second, third = (Attempt(request(n), f"id-{n}", 0.0, 0.0) for n in (1, 2, 3))
    batch = admit(first)
    assert isinstance(batch, SendBatch)
    assert admit(second) is batch
    stored = loop.create_future()
    assert admit(third) is not batch


@pytest.mark.virtual_time
async def test_a_try_whose_connection_was_gone_does_not_queue_again() -> None:
    """Or a server that closes what rests for a minute would be asked for nothing at one request a second."""
    left: list[float] = []

    async def twice(body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        assert await is_admitted(admission)
        await asyncio.sleep(0.01)
        assert await is_admitted(admission)
        left.append(asyncio.get_running_loop().time())
        return OK

    engage = compose(twice, pace=Pace(1))
    await asyncio.gather(*(engage(request(n)) for n in range(10)))
    assert left[-1] < 11
    assert all(after - before >= 0.98 for before, after in pairwise(left))


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("first", "left"), [(BUSY, 1), (NO, 1 + 3), (OK, 20)], ids=["gateway", "rejected", "engaged"]
)
async def test_a_slow_start_limits_the_requests_in_flight(first: Ending, left: int) -> None:
    """One until the endpoint responds in its own form, and three until it accepts a row."""
    script = Script(first)
    engage = compose(script, slow_start=SlowStart(all_rejected=3), retry=Retry(9, base_delay=0.01))
    outcomes = await asyncio.gather(*(engage(request(n)) for n in range(20)))
    assert None not in outcomes
    assert sum(moment < 0.09 for moment, _ in script.left) == left


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
