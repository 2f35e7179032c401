"""The layers around a try. Each wraps the call within; the page composes them into one expression:

    retried(tried(transport.send, paced(stoppable(recorded(intend)))))

Every try is paced, may still be held back, and is written down before it leaves.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_result
from tenacity.wait import wait_base

from engager.dispatch.delivery import INTERRUPTED, Step, decide, give_up, may_go_on
from engager.dispatch.limits import Gate, Pacer, RetryBudget, Stop, pause_seconds
from engager.dispatch.transport import Clearance
from engager.dispatch.verdict import Meaning, Verdict, judge, why_refused
from engager.errors import Exit
from engager.model import Ending, EngageRequest, Life, Outcome, Status, Withheld
from engager.policy import Delivery, Retry

#: So many errors that only a gateway can have written, before the endpoint was ever heard of, and the
#: address is wrong: going on would reject a million people for a slip in a URL.
STRANGERS = 20


@dataclass(slots=True)
class Effort:
    """One request and all that happens to it until it is settled."""

    request: EngageRequest
    taken_up: float  #: loop time
    request_id: str
    due: float | None = None  #: loop time at which the present try was let through
    latency: float | None = None  #: seconds, of the last try
    in_flight: float = 0.0  #: seconds, of all tries

    @property
    def life(self) -> Life:
        """What is known of the row."""
        return self.request.life

    def ended(self, now: float) -> None:
        """The present try came to an end, whether or not it had left."""
        self.life.attempts += 1
        self.latency = now - self.due if self.due is not None else None
        self.in_flight += self.latency or 0.0


Send = Callable[[tuple[bytes, ...], str, Clearance], Awaitable[Ending]]
Clear = Callable[[Effort], Awaitable[bool]]
Attempt = Callable[[Effort], Awaitable[Verdict]]
#: Seconds that neither jump nor stand still while the machine sleeps.
Clock = Callable[[], float]
#: Derives a further Request-ID from the first one and a count.
FreshId = Callable[[str, int], str]


def recorded(intend: Callable[[EngageRequest], Awaitable[None]], clock: Clock) -> Clear:
    """Write the intent down, as the last thing before the first byte leaves."""

    async def clear(effort: Effort) -> bool:
        effort.due = asyncio.get_running_loop().time()
        effort.life.leaves(clock())
        await intend(effort.request)
        return True

    return clear


def stoppable(stop: Stop, clear: Clear) -> Clear:
    """Hold the try back once the run is to end."""

    async def clear_unless_stopped(effort: Effort) -> bool:
        return not stop.requested and await clear(effort)

    return clear_unless_stopped


def paced(gate: Gate, pacer: Pacer, clear: Clear) -> Clear:
    """Wait for the pace and for a pause to end; a slot that a pause overtook is gone, take another."""

    async def clear_at_pace(effort: Effort) -> bool:
        while True:
            await gate.passes()
            await pacer.passes(gate)
            if not gate.shut:
                return await clear(effort)

    return clear_at_pace


def tried(send: Send, clear: Clear) -> Attempt:
    """Carry out one try and judge its ending."""

    async def attempt(effort: Effort) -> Verdict:
        effort.due = None
        ending = await send(effort.request.body, effort.request_id, lambda: clear(effort))
        if not isinstance(ending, Withheld):
            effort.ended(asyncio.get_running_loop().time())
        return judge(ending)

    return attempt


def obeying(gate: Gate, stop: Stop, retry: Retry, attempt: Attempt) -> Attempt:
    """Do for everybody what the answer asks: pause the run, or end it."""
    strangers = 0  # errors by somebody else than the endpoint, as long as it was never heard of

    async def obedient(effort: Effort) -> Verdict:
        nonlocal strangers
        verdict = await attempt(effort)
        if verdict.by_endpoint:
            strangers = -sys.maxsize
        elif verdict.meaning is Meaning.REJECTED:
            strangers += 1
        if strangers >= STRANGERS:
            stop.request(
                Exit.STOPPED, f"nothing at this address speaks for the endpoint: {verdict.error_text}"
            )
        if verdict.meaning is Meaning.REFUSES_ALL:
            stop.request(Exit.STOPPED, f"no row can succeed: {why_refused(verdict)}")
        elif verdict.retry_after is not None:
            _pause(gate, stop, retry, verdict.retry_after)
        return verdict

    return obedient


def _pause(gate: Gate, stop: Stop, retry: Retry, retry_after: str) -> None:
    seconds = pause_seconds(retry_after, time.time())
    if seconds is None:
        return
    if seconds > retry.longest_pause:
        asked = f"the endpoint asks for a pause of {seconds:.0f} s, longer than retry.longest_pause"
        stop.request(Exit.STOPPED, asked)
    gate.close(seconds)


Engage = Callable[[EngageRequest], Awaitable[Outcome | None]]


def retried(
    attempt: Attempt,
    retry: Retry,
    delivery: Delivery,
    budget: RetryBudget,
    stop: Stop,
    fresh_id: FreshId,
    answered: Callable[[EngageRequest], None],
    clock: Clock,
) -> Engage:
    """Try until the row is settled; None when it is left for the next time.

    The first try is a plain call: only the failure path pays for the machinery of retries.
    """

    async def engage(request: EngageRequest) -> Outcome | None:
        effort = Effort(request, asyncio.get_running_loop().time(), _present_id(request, fresh_id))
        if not may_go_on(delivery, request.life, clock()):
            return _outcome(effort, Status.IN_DOUBT, INTERRUPTED)
        verdict, step = await step_of(effort)
        if step is Step.AGAIN:
            verdict, step = await again(effort, verdict)
        if isinstance(step, Step):
            return None
        if step is Status.ENGAGED:
            budget.earn()
        return _outcome(effort, step, verdict)

    async def step_of(effort: Effort) -> tuple[Verdict, Status | Step]:
        verdict = await attempt(effort)
        step = decide(delivery, effort.life, verdict, clock())
        if isinstance(step, Step):
            effort.request_id = _present_id(effort.request, fresh_id)
            answered(effort.request)
        return verdict, step

    async def again(effort: Effort, verdict: Verdict) -> tuple[Verdict, Status | Step]:
        known = [(verdict, Step.AGAIN)]

        async def next_step() -> tuple[Verdict, Status | Step]:
            return known.pop() if known else await step_of(effort)

        # One object a row: tenacity keeps the state of its tries in it.
        trying = AsyncRetrying(
            retry=retry_if_result(lambda result: result[1] is Step.AGAIN),
            stop=retry.stop,
            wait=retry.wait + _Allowance(budget),
            sleep=stop.sleep,
            retry_error_callback=lambda state: _exhausted(state, effort),
        )
        return await trying(next_step)

    return engage


def _present_id(request: EngageRequest, fresh_id: FreshId) -> str:
    first, generation = request.request_id, request.life.generation
    return fresh_id(first, generation) if generation else first


class _Allowance(wait_base):
    """The wait for the retry budget, as one more wait that tenacity adds."""

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget

    def __call__(self, retry_state: RetryCallState) -> float:
        return self._budget.spend(asyncio.get_running_loop().time())


def _exhausted(state: RetryCallState, effort: Effort) -> tuple[Verdict, Status | Step]:
    assert state.outcome is not None  # noqa: S101 - tenacity calls this with the last result only
    verdict, _ = state.outcome.result()
    return verdict, give_up(effort.life)


def _outcome(effort: Effort, status: Status, verdict: Verdict) -> Outcome:
    engaged = status is Status.ENGAGED
    elapsed = asyncio.get_running_loop().time() - effort.taken_up
    return Outcome(
        effort.request.row,
        effort.request.key,
        status,
        effort.life.attempts,
        verdict.http_status,
        0 if engaged else verdict.error,
        verdict.error_text,
        effort.request_id,
        verdict.duplicate,
        None if effort.latency is None else effort.latency * 1000,
        (elapsed - effort.in_flight) * 1000,
    )
