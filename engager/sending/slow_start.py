"""The mechanism of the slow start: limits requests until one is accepted, and stops a hopeless run."""

from __future__ import annotations

import asyncio
from collections import deque

from engager.altcraft.classification import Meaning, Verdict, why_all_rejected, why_no_response
from engager.errors import Exit
from engager.models import NOT_OF_ENDPOINT
from engager.policies.slow_start import FirstResponses, SlowStart
from engager.sending.attempt import Attempt
from engager.sending.stop import Stop


class StartLimiter:
    """Limits the requests in flight until the endpoint has accepted a row."""

    def __init__(self, policy: SlowStart, stop: Stop) -> None:
        self._responses = FirstResponses(policy)
        self._stop = stop
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, attempt: Attempt) -> None:
        """Wait for a place in flight; a retry comes first, so that few rows are affected."""
        while self._in_flight >= self._responses.limit:
            turn = asyncio.get_running_loop().create_future()
            retries = attempt.request.history.attempts > 0
            self._waiting.appendleft(turn) if retries else self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._admit()  # the place may have been this one's
                raise
        self._in_flight += 1

    def leave(self, attempt: Attempt, verdict: Verdict) -> bool:
        """An attempt ended; returns whether the start is over, so that none needs to enter any more."""
        if verdict.meaning is not Meaning.NOT_SENT and not attempt.expired:
            self._observe(verdict, attempt.is_part)
        attempt.unanswered = not self._responses.responded
        if (pause := self._responses.pause) and not self._stop.requested:
            asyncio.get_running_loop().call_later(pause, self._release)
        else:
            self._release()
        return self._responses.over

    def _release(self) -> None:
        self._in_flight -= 1
        self._admit()

    def _admit(self) -> None:
        free = min(len(self._waiting), self._responses.limit - self._in_flight)
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1

    def _observe(self, verdict: Verdict, is_part: bool) -> None:
        responses = self._responses
        if verdict.by_endpoint:
            responses.responded = True
        rejection = _rejection(verdict)
        if rejection is not None:
            # The parts of a batch are refused for the same row, and any request for its size.
            if not (is_part or verdict.is_too_large) and responses.record_rejected(rejection.error):
                verdict = rejection
                self._stop.request(Exit.STOPPED, why_all_rejected(verdict, responses.policy.all_rejected))
        elif verdict.meaning is Meaning.ACCEPTED:
            responses.record_accepted()
        elif not verdict.by_endpoint and self._is_hopeless(verdict):
            self._stop.request(Exit.STOPPED, why_no_response(verdict))

    def _is_hopeless(self, verdict: Verdict) -> bool:
        """Whether no endpoint can be expected at this address."""
        if self._responses.responded or verdict.error in NOT_OF_ENDPOINT:
            return False
        # A gateway that asks for credentials would ask every further request, too.
        return self._responses.record_no_response(verdict.sent) or verdict.http_status in (401, 403, 407)


def _rejection(verdict: Verdict) -> Verdict | None:
    """The error with which a response rejects all that its request carries; None for any other response."""
    if verdict.meaning is Meaning.REJECTED:
        return verdict
    errors = {row.error for row in verdict.rows or () if row.meaning is Meaning.REJECTED}
    if len(errors) != 1 or not verdict.rows or any(row.error not in errors for row in verdict.rows):
        return None
    return verdict.rows[0]
