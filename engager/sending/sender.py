"""Sends one attempt: waits for the policies, passes the request to the transport, and judges its ending."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from engager.altcraft.classification import ACCEPTED, Meaning, Verdict, fatal_reason, judge, judge_batch
from engager.errors import Exit
from engager.models import AttemptHistory, Ending, EngageRequest, NotSent, Recalled, Withheld
from engager.policies.circuit_breaker import Breaker
from engager.policies.retry import Retry
from engager.policies.slow_start import SlowStart
from engager.sending.attempt import Attempt
from engager.sending.circuit_breaker import CircuitBreaker
from engager.sending.clock import running_clock
from engager.sending.delivery import EXPIRED, STOPPED
from engager.sending.limits import Limits
from engager.sending.pause import pause_seconds
from engager.sending.slow_start import StartLimiter
from engager.sending.transport.base import Admission, SendBatch

#: Seconds until an attempt that came back is made again, so that it is not handed out in a storm.
_AGAIN: Final = 0.1

#: A transport's `send`.
Send = Callable[[tuple[bytes, ...], str, Admission], Awaitable[Ending]]
#: Admits an attempt, at once if there is nothing to wait for.
Admit = Callable[[Attempt], bool | SendBatch | Awaitable[bool | SendBatch]]


class Sender:
    """Sends the attempts of one process. Create it inside the running loop."""

    def __init__(
        self,
        send: Send,
        admit: Admit,
        limits: Limits,
        retry: Retry,
        *,
        breaker: Breaker | None = None,
        slow_start: SlowStart | None = None,
        clean: Callable[[str], str] = str,
        is_task: bool = False,
        came_back: Callable[[EngageRequest], None] | None = None,
    ) -> None:
        """Make a sender.

        Args:
            send: the transport's method.
            admit: admits an attempt.
            limits: all that the attempts of the process wait for.
            retry: the policy for retries and pauses.
            breaker: the policy of the circuit breaker, if there is one.
            slow_start: how it begins, before the endpoint has accepted a row.
            clean: cleans a text of others, at the only place where it enters.
            is_task: the endpoint responds to a batch before it imports it.
            came_back: stores that a request has not left after all; needed where others send it.

        """
        self._send, self._admit, self._retry = send, admit, retry
        self._stop, self._gate = limits.stop, limits.gate
        self._breaker = None if breaker is None else CircuitBreaker(breaker, limits.gate, limits.stop)
        #: Until the endpoint has accepted a row.
        self._start = None if slow_start is None else StartLimiter(slow_start, limits.stop)
        self._now, self._clean, self._is_task = running_clock(), clean, is_task
        self._came_back = came_back
        self._ending: Ending = Withheld()
        self._verdict = judge(self._ending)  #: on `_ending`

    @property
    def is_starting(self) -> bool:
        """Whether the endpoint has not accepted a row yet."""
        return self._start is not None

    async def attempt_once(self, attempt: Attempt) -> Verdict:
        """Send an attempt and judge its ending; usually only the response is waited for."""
        start, verdict = self._start, STOPPED
        if start is not None:
            await start.enter(attempt)
        try:
            while True:
                # Here, too, and not only before the first byte: if the endpoint refuses connections, no
                # attempt reaches that point.
                attempt.probing = self._gate.shut and await self._gate.wait()
                # An attempt that waited for the first response must not follow it after a stop.
                if self._stop.exit is not None:
                    break
                attempt.due = attempt.slot = None
                attempt.unanswered = False
                history, admission = attempt.request.history, partial(self._admit, attempt)
                ending = await self._send(attempt.request.body, attempt.request_id, admission)
                if not isinstance(ending, Recalled):
                    verdict = self._judge(attempt, ending)
                    break
                self._take_back(attempt, history)
                await self._stop.sleep(_AGAIN)
        finally:
            if start is not None and start.leave(attempt, verdict):
                self._start = None
        return verdict

    def _take_back(self, attempt: Attempt, history: AttemptHistory) -> None:
        """An attempt that was handed to another process has not left: it is as it was before."""
        attempt.request.history = history
        if attempt.probing:
            self._gate.allow_probe()
        if self._came_back is not None and attempt.due is not None:
            self._came_back(attempt.request)

    def _judge(self, attempt: Attempt, ending: Ending) -> Verdict:
        if members := attempt.request.members:
            verdict = self._cleaned(judge_batch(ending, len(members), self._is_task))
        else:
            if ending is not self._ending:  # a transport returns a repeated response as the same object
                self._ending, self._verdict = ending, self._cleaned(judge(ending))
            verdict = self._verdict
        attempt.ended_at = self._now()
        accepted = verdict.meaning is ACCEPTED
        if not accepted and verdict.meaning is Meaning.NOT_SENT:
            if attempt.probing:
                self._gate.allow_probe()  # the probe did not leave
            return EXPIRED if attempt.expired else verdict
        if isinstance(ending, NotSent):
            attempt.due = None
        elif ending.took is not None:  # another process sent it, when it was due there
            attempt.due = attempt.ended_at - ending.took
        attempt.ended()
        if not accepted or verdict.retry_after is not None:
            self._apply(verdict)
        if self._breaker is not None and not (accepted and self._breaker.is_calm):
            self._breaker.observe(verdict, attempt.probing)
        return verdict

    def _cleaned(self, verdict: Verdict) -> Verdict:
        rows = verdict.rows
        if rows:
            cleaned = {id(row): self._cleaned(row) for row in {id(row): row for row in rows}.values()}
            references = [one and self._clean(one) for one in verdict.references]
            verdict = replace(verdict, rows=[cleaned[id(row)] for row in rows], references=references)
        text, reference = verdict.error_text, verdict.reference
        if text is None and reference is None:
            return verdict
        return replace(
            verdict,
            error_text=text and self._clean(text),
            reference=reference and self._clean(reference),
        )

    def _apply(self, verdict: Verdict) -> None:
        """Stop or pause the run, if the response asks for it."""
        if verdict.meaning is Meaning.FATAL and not (verdict.duplicate and verdict.by_endpoint):
            self._stop.request(Exit.STOPPED, f"no row can succeed: {fatal_reason(verdict)}")
        elif verdict.retry_after is not None:
            self._pause(pause_seconds(verdict.retry_after, time.time(), verdict.date))

    def _pause(self, seconds: float | None) -> None:
        if seconds is None:
            return
        if seconds > self._retry.longest_pause:
            asked = f"the endpoint asks for a pause of {seconds:.0f} s, longer than retry.longest_pause"
            self._stop.request(Exit.STOPPED, asked)
        self._gate.close(seconds)
