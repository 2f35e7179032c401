"""Attempts a row until it is settled or deferred."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from engager.altcraft.classification import ACCEPTED, Verdict
from engager.models import ENGAGED, EngageRequest, Outcome, Status
from engager.policies.delivery import Delivery
from engager.policies.retry import Retry
from engager.sending.attempt import Attempt, AttemptCall
from engager.sending.clock import BootClock, Clock, running_clock
from engager.sending.delivery import (
    STOPPED,
    Decision,
    decide,
    doubt_before,
    doubtful,
    give_up,
    may_attempt,
)
from engager.sending.limits import RetryBudget
from engager.sending.stop import Stop

#: Derives a further request id from the first one and its version.
FreshId = Callable[[str, int], str]
#: Settles a row; None defers it.
Engage = Callable[[EngageRequest], Awaitable[Outcome | None]]


def with_retry(
    call: AttemptCall,
    retry: Retry,
    delivery: Delivery,
    budget: RetryBudget,
    stop: Stop,
    fresh_id: FreshId,
    attempt_ended: Callable[[EngageRequest], None],
    clock: BootClock,
) -> Retrying:
    """Attempt a row until it is settled; call `attempt_ended` after an attempt that does not settle it."""
    return Retrying(call, retry, delivery, budget, stop, fresh_id, attempt_ended, clock)


@dataclass(frozen=True, slots=True)
class Retrying:
    """The first attempt is a plain call: only the failure path pays for the machinery of retries."""

    call: AttemptCall
    retry: Retry
    delivery: Delivery
    budget: RetryBudget
    stop: Stop
    fresh_id: FreshId
    attempt_ended: Callable[[EngageRequest], None]
    clock: BootClock
    now: Clock = field(default_factory=running_clock)

    async def engage(self, request: EngageRequest) -> Outcome | None:
        """Settle a row; None defers it."""
        attempt, verdict, step = await self.carry(request)
        return None if isinstance(step, Decision) else outcome_of(attempt, request, step, verdict)

    async def carry(
        self,
        request: EngageRequest,
        used: int = 0,
        after: Verdict | None = None,
        *,
        waits: bool = False,
        is_part: bool = False,
    ) -> tuple[Attempt, Verdict, Status | Decision]:
        """Attempt a request until it is settled or deferred.

        Args:
            request: of one row or of a batch.
            used: attempts that its rows have used up already.
            after: how the last one of these ended.
            waits: a backoff comes first.
            is_part: it is a part of a batch that was sent before.

        """
        now = self.now()
        attempt = Attempt(request, request.request_id, now, now, is_part=is_part)
        if request.history.in_doubt:
            attempt.doubt = doubt_before(request.history) if after is None else after
            if not may_attempt(self.delivery, request.history, self.clock()):
                return attempt, attempt.doubt, Status.IN_DOUBT
        if request.history.request_id_version:
            self._renew_id(attempt)
        if after is not None and waits:
            verdict, step = await self._retry(attempt, after, used)
        else:
            verdict = await self.call(attempt)
            if verdict.meaning is ACCEPTED:  # a success counts whenever it comes
                self.budget.earn()
                return attempt, verdict, ENGAGED
            verdict, step = self._decide(attempt, verdict)
            if step is Decision.RETRY:
                verdict, step = await self._retry(attempt, verdict, used + 1)
        if step is ENGAGED:
            self.budget.earn()
        elif step is Status.IN_DOUBT:
            verdict = doubtful(attempt.doubt, verdict)
        return attempt, verdict, step

    def _renew_id(self, attempt: Attempt) -> None:
        """Give the attempt the row's present request id, which is not its first."""
        request = attempt.request
        attempt.request_id = self.fresh_id(request.request_id, request.history.request_id_version)

    def _decide(self, attempt: Attempt, verdict: Verdict) -> tuple[Verdict, Status | Decision]:
        step, history = decide(self.delivery, attempt.request.history, verdict, self.clock())
        if isinstance(step, Decision):
            attempt.continue_after(history, verdict)
            if history.request_id_version:
                self._renew_id(attempt)
            self.attempt_ended(attempt.request)
        else:
            attempt.request.history = history
        return verdict, step

    async def _retry(
        self, attempt: Attempt, verdict: Verdict, used: int
    ) -> tuple[Verdict, Status | Decision]:
        """Attempt it again after a backoff, and so on; so many attempts were made."""
        known = [(verdict, Decision.RETRY)]

        async def next_step() -> tuple[Verdict, Status | Decision]:
            if known:
                return known.pop()
            # After a stop no row may use up its attempts.
            stopped = self.stop.requested
            return self._decide(attempt, STOPPED if stopped else await self.call(attempt))

        def count_used(state: RetryCallState) -> None:
            state.attempt_number = max(state.attempt_number, used)

        # One object per row: tenacity keeps the state of its attempts in it.
        retrying = AsyncRetrying(
            retry=retry_if_result(lambda result: result[1] is Decision.RETRY),
            stop=lambda state: self.retry.stop(state) and not attempt.unanswered,
            wait=self._delay,
            before=count_used,
            sleep=self.stop.sleep,
            retry_error_callback=lambda state: _exhausted(state, attempt),
        )
        return await retrying(next_step)

    def _delay(self, state: RetryCallState) -> float:
        """The backoff, and after it the wait for the retry budget."""
        return self.retry.wait(state) + self.budget.spend(self.now())


def _exhausted(state: RetryCallState, attempt: Attempt) -> tuple[Verdict, Status | Decision]:
    assert state.outcome is not None  # noqa: S101 - tenacity calls this with the last result only
    verdict, _ = state.outcome.result()
    return verdict, give_up(attempt.request.history)


def outcome_of(attempt: Attempt, request: EngageRequest, status: Status, verdict: Verdict) -> Outcome:
    """The outcome of a row whose request an attempt has carried."""
    elapsed = attempt.ended_at - attempt.started_at
    return Outcome(
        request.row,
        request.key,
        status,
        attempt.request.history.attempts,
        verdict.http_status,
        verdict.error,
        verdict.error_text,
        attempt.request_id,
        verdict.duplicate,
        None if attempt.latency is None else attempt.latency * 1000,
        (elapsed - attempt.in_flight) * 1000,
        reference=verdict.reference,
    )
