"""The layers around a try. Each wraps the call within; the page composes them into one expression:

    with_retry(single_attempt(transport.send, admission.admit, handle))

What must hold before a byte leaves, `admission.py` has. Layers are composed inside the running loop, whose
clock they read.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from engager.altcraft.classification import Meaning, Verdict, fatal_reason, judge
from engager.errors import Exit
from engager.models import Ending, EngageRequest, Outcome, Status, Withheld
from engager.policies.delivery import Delivery
from engager.policies.retry import Retry
from engager.sending.attempt import Attempt, AttemptCall
from engager.sending.clock import BootClock, Clock, running_clock
from engager.sending.delivery import (
    EXPIRED,
    STOPPED,
    Decision,
    decide,
    doubt_before,
    doubtful,
    give_up,
    may_attempt,
)
from engager.sending.limits import PauseGate, RetryBudget, Stop, pause_seconds
from engager.sending.transport.base import Admission, SendBatch

# To ask an enumeration for a member takes a call, and these are asked for with every row.
_ACCEPTED: Final = Meaning.ACCEPTED
_NOT_SENT: Final = Meaning.NOT_SENT
_FATAL: Final = Meaning.FATAL
_RETRY: Final = Decision.RETRY
_ENGAGED: Final = Status.ENGAGED


Send = Callable[[tuple[bytes, ...], str, Admission], Awaitable[Ending]]
#: Answers at once where nothing is to be waited for.
Admit = Callable[[Attempt], bool | SendBatch | Awaitable[bool | SendBatch]]
#: Told of every verdict, for what it means to everybody.
OnVerdict = Callable[[Verdict], None]
#: Derives a further Request-ID from the first one and a count.
FreshId = Callable[[str, int], str]


def single_attempt(send: Send, admit: Admit, on_verdict: OnVerdict) -> AttemptCall:
    """Carry out one try and judge its ending."""
    now = running_clock()
    heard: Ending = Withheld()
    judged = judge(heard)

    async def attempt_once(attempt: Attempt) -> Verdict:
        nonlocal heard, judged
        attempt.due = attempt.slot = None
        ending = await send(attempt.request.body, attempt.request_id, partial(admit, attempt))
        if ending is not heard:  # what an endpoint repeats, a transport gives out as the same object
            heard, judged = ending, judge(ending)
        verdict = judged
        attempt.ended_at = now()
        if verdict.meaning is not _NOT_SENT:
            attempt.ended()
            on_verdict(verdict)
        return EXPIRED if attempt.expired else verdict

    return attempt_once


def verdict_handler(gate: PauseGate, stop: Stop, retry: Retry) -> OnVerdict:
    """Do for everybody what an answer asks: pause the run, or end it."""

    def handle(verdict: Verdict) -> None:
        if verdict.meaning is _FATAL and not (verdict.duplicate and verdict.by_endpoint):
            stop.request(Exit.STOPPED, f"no row can succeed: {fatal_reason(verdict)}")
        elif verdict.retry_after is not None:
            _pause(gate, stop, retry, pause_seconds(verdict.retry_after, time.time(), verdict.date))

    return handle


def _pause(gate: PauseGate, stop: Stop, retry: Retry, seconds: float | None) -> None:
    if seconds is None:
        return
    if seconds > retry.longest_pause:
        asked = f"the endpoint asks for a pause of {seconds:.0f} s, longer than retry.longest_pause"
        stop.request(Exit.STOPPED, asked)
    gate.close(seconds)


Engage = Callable[[EngageRequest], Awaitable[Outcome | None]]


def with_retry(
    call: AttemptCall,
    retry: Retry,
    delivery: Delivery,
    budget: RetryBudget,
    stop: Stop,
    fresh_id: FreshId,
    answered: Callable[[EngageRequest], None],
    clock: BootClock,
) -> Engage:
    """Try until the row is settled; None when it is left for the next time."""
    return _Retrying(call, retry, delivery, budget, stop, fresh_id, answered, clock).engage


@dataclass(frozen=True, slots=True)
class _Retrying:
    """The first try is a plain call: only the failure path pays for the machinery of retries."""

    call: AttemptCall
    retry: Retry
    delivery: Delivery
    budget: RetryBudget
    stop: Stop
    fresh_id: FreshId
    answered: Callable[[EngageRequest], None]
    clock: BootClock
    now: Clock = field(default_factory=running_clock)

    async def engage(self, request: EngageRequest) -> Outcome | None:
        attempt = Attempt(request, self.now())
        if request.history.in_doubt:
            attempt.doubt = doubt_before(request.history)
            if not may_attempt(self.delivery, request.history, self.clock()):
                return _outcome(attempt, Status.IN_DOUBT, attempt.doubt)
        if request.history.request_id_version:
            self._renew_id(attempt)
        verdict, step = self._decide(attempt, await self.call(attempt))
        if step is _RETRY:
            verdict, step = await self._retry(attempt, verdict)
        if isinstance(step, Decision):
            return None
        if step is _ENGAGED:
            self.budget.earn()
        elif step is Status.IN_DOUBT:
            verdict = doubtful(attempt.doubt, verdict)
        return _outcome(attempt, step, verdict)

    def _renew_id(self, attempt: Attempt) -> None:
        """Give the effort the row's present Request-ID, which is not its first."""
        request = attempt.request
        attempt.request_id = self.fresh_id(request.request_id, request.history.request_id_version)

    def _decide(self, attempt: Attempt, verdict: Verdict) -> tuple[Verdict, Status | Decision]:
        now = 0.0 if verdict.meaning is _ACCEPTED else self.clock()  # what was taken, was: whenever it is
        step, history = decide(self.delivery, attempt.request.history, verdict, now)
        attempt.request.history = history
        if isinstance(step, Decision):
            attempt.note_doubt(verdict)
            if history.request_id_version:
                self._renew_id(attempt)
            self.answered(attempt.request)
        return verdict, step

    async def _retry(self, attempt: Attempt, verdict: Verdict) -> tuple[Verdict, Status | Decision]:
        known = [(verdict, Decision.RETRY)]

        async def next_step() -> tuple[Verdict, Status | Decision]:
            if known:
                return known.pop()
            # After a stop no row may use up the tries that it has.
            stopped = self.stop.requested
            return self._decide(attempt, STOPPED if stopped else await self.call(attempt))

        # One object a row: tenacity keeps the state of its tries in it.
        trying = AsyncRetrying(
            retry=retry_if_result(lambda result: result[1] is Decision.RETRY),
            stop=lambda state: self.retry.stop(state) and not attempt.unheard,
            wait=self._waiting,
            sleep=self.stop.sleep,
            retry_error_callback=lambda state: _exhausted(state, attempt),
        )
        return await trying(next_step)

    def _waiting(self, state: RetryCallState) -> float:
        """The backoff, and behind it the wait for the retry budget."""
        return self.retry.wait(state) + self.budget.spend(self.now())


def _exhausted(state: RetryCallState, attempt: Attempt) -> tuple[Verdict, Status | Decision]:
    assert state.outcome is not None  # noqa: S101 - tenacity calls this with the last result only
    verdict, _ = state.outcome.result()
    return verdict, give_up(attempt.request.history)


def _outcome(attempt: Attempt, status: Status, verdict: Verdict) -> Outcome:
    engaged = status is _ENGAGED
    elapsed = attempt.ended_at - attempt.started_at
    return Outcome(
        attempt.request.row,
        attempt.request.key,
        status,
        attempt.request.history.attempts,
        verdict.http_status,
        0 if engaged else verdict.error,
        verdict.error_text,
        attempt.request_id,
        verdict.duplicate,
        None if attempt.latency is None else attempt.latency * 1000,
        (elapsed - attempt.in_flight) * 1000,
    )
