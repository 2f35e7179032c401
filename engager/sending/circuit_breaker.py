"""The mechanisms of rules: how tries and rows end in, a gate held shut, or the end of the run, out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from engager.altcraft.classification import Meaning, Verdict, why_all_rejected, why_unheard
from engager.errors import Exit
from engager.models import OWN_MACHINE
from engager.policies.circuit_breaker import Breaker, Circuit
from engager.policies.failure_threshold import Failures, Threshold
from engager.policies.rules import FirstAnswers, SlowStart
from engager.sending.attempt import Attempt, AttemptCall
from engager.sending.delivery import STOPPED
from engager.sending.limits import BREAKER, PauseGate, Stop


def with_circuit_breaker(
    breaker: Breaker | None,
    gate: PauseGate,
    stop: Stop,
    call: AttemptCall,
    slow_start: SlowStart | None = None,
) -> AttemptCall:
    """Let nothing leave while the endpoint is down, and begin carefully; held rows use up no tries."""
    if breaker is not None:
        call = _with_breaker(_CircuitBreaker(breaker, gate, stop), gate, call)
    return call if slow_start is None else _with_slow_start(_Start(slow_start, stop), stop, call)


def _with_breaker(outage: _CircuitBreaker, gate: PauseGate, call: AttemptCall) -> AttemptCall:
    circuit = outage.circuit

    async def attempt_if_up(attempt: Attempt) -> Verdict:
        # Here, and not only before the first byte: an endpoint that refuses connections lets no try
        # come that far.
        attempt.probing = gate.shut and await gate.wait()
        verdict = await call(attempt)
        if verdict.meaning is Meaning.NOT_SENT or attempt.expired:  # nobody was asked
            if attempt.probing:
                gate.allow_probe()
        elif _is_down(verdict):
            outage.record_failure(attempt.probing)
        elif circuit.opened is not None or circuit.failed:
            circuit.record_success()
            gate.resume(BREAKER)
        return verdict

    return attempt_if_up


def _with_slow_start(start: _Start, stop: Stop, call: AttemptCall) -> AttemptCall:
    async def attempt_carefully(attempt: Attempt) -> Verdict:
        if start.answers.over:
            return await call(attempt)
        await start.enter(again=attempt.request.history.attempts > 0)
        try:
            # Asked here: those that waited for the first request must not follow it after a stop.
            verdict = STOPPED if stop.requested else await call(attempt)
        except BaseException:
            start.leave()
            raise
        if verdict.meaning is not Meaning.NOT_SENT and not attempt.expired:
            start.observe(verdict)
        start.leave_after(start.answers.pause)
        attempt.unheard = not start.answers.heard
        return verdict

    return attempt_carefully


class _Start:
    """Holds requests back until the endpoint was heard, and stops the run where it never will be."""

    def __init__(self, policy: SlowStart, stop: Stop) -> None:
        self.answers = FirstAnswers(policy)
        self._stop = stop
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, again: bool) -> None:
        """Wait for a place in flight; a row that is tried again comes first, so that few rows are touched."""
        while self._in_flight >= self.answers.limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.appendleft(turn) if again else self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._admit()  # the place may have been this one's
                raise
        self._in_flight += 1

    def leave(self) -> None:
        """A request ended."""
        self._in_flight -= 1
        self._admit()

    def leave_after(self, seconds: float) -> None:
        """A request ended, and the next one may not leave before so many seconds."""
        if seconds and not self._stop.requested:
            asyncio.get_running_loop().call_later(seconds, self.leave)
        else:
            self.leave()

    def _admit(self) -> None:
        free = min(len(self._waiting), self.answers.limit - self._in_flight)
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1

    def observe(self, verdict: Verdict) -> None:
        """Learn from how a request ended."""
        answers = self.answers
        if verdict.by_endpoint:
            answers.heard = True
        if verdict.meaning is Meaning.ACCEPTED:
            answers.took()
        elif verdict.meaning is Meaning.REJECTED:
            if answers.rejected(verdict.error):
                self._stop.request(Exit.STOPPED, why_all_rejected(verdict, answers.policy.all_rejected))
        elif not verdict.by_endpoint and self._is_hopeless(verdict):
            self._stop.request(Exit.STOPPED, why_unheard(verdict))
        self._admit()

    def _is_hopeless(self, verdict: Verdict) -> bool:
        """Whether the endpoint is not to be expected at this address."""
        if self.answers.heard or verdict.error == OWN_MACHINE:
            return False
        # A gateway that asks for credentials would ask every further request, too.
        return self.answers.missed(verdict.sent) or verdict.http_status in (401, 403, 407)


class _CircuitBreaker:
    """Holds the gate while the circuit is open, and lets its probes through."""

    def __init__(self, breaker: Breaker, gate: PauseGate, stop: Stop) -> None:
        self.circuit = Circuit(breaker)
        self._gate, self._stop = gate, stop
        self._loop = asyncio.get_running_loop()
        self._next_probe: asyncio.TimerHandle | None = None

    def record_failure(self, probing: bool) -> None:
        """A try found nobody."""
        pause = self.circuit.record_failure(self._loop.time(), probing)
        if pause is None:
            return
        if self.circuit.is_hopeless(self._loop.time()):
            text = f"the endpoint has been down for {self.circuit.breaker.give_up:g} s (breaker.give_up)"
            self._stop.request(Exit.STOPPED, text)
        self._gate.pause(BREAKER)
        if self._next_probe is not None:
            self._next_probe.cancel()  # it may be due still, from an outage that is over
        self._next_probe = self._loop.call_later(pause, self._gate.allow_probe)


def _is_down(verdict: Verdict) -> bool:
    """Whether nobody was there: no connection, no answer, or a gateway that has nobody behind it."""
    if verdict.by_endpoint or verdict.meaning not in (Meaning.UNKNOWN, Meaning.NOT_ACCEPTED):
        return False
    # A limit is somebody's who is there, and a pause that is asked for is kept as it is.
    return verdict.error != OWN_MACHINE and verdict.http_status != 429 and verdict.retry_after is None


def failure_counter(threshold: Threshold | None, stop: Stop) -> Callable[[int, str], None] | None:
    """What is to be told of every row that was not engaged; it ends the run when there are too many."""
    if threshold is None:
        return None
    failures = Failures(threshold)

    def count(settled: int, kind: str) -> None:
        if (why := failures.add(settled, kind)) is not None:
            stop.request(Exit.STOPPED, why)

    return count
