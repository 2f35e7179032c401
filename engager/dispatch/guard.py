"""The mechanisms of rules: how tries and rows end in, a gate held shut, or the end of the run, out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engager.dispatch.effort import Attempt, Effort
from engager.dispatch.limits import BREAKER, Gate, Stop
from engager.dispatch.verdict import Meaning, Verdict
from engager.errors import Exit
from engager.model import OWN_MACHINE
from engager.rules import Breaker, Circuit, Failures, Threshold


def guarded(breaker: Breaker | None, gate: Gate, stop: Stop, attempt: Attempt) -> Attempt:
    """Let nothing leave while nobody is there; rows wait without using up their tries."""
    if breaker is None:
        return attempt
    outage = _Outage(breaker, gate, stop)
    circuit = outage.circuit

    async def attempt_if_up(effort: Effort) -> Verdict:
        # Here, and not only before the first byte: an endpoint that refuses connections lets no try
        # come that far.
        effort.probing = gate.shut and await gate.passes()
        verdict = await attempt(effort)
        if verdict.meaning is Meaning.WITHHELD or effort.expired:  # nobody was asked
            if effort.probing:
                gate.let_one_through()
        elif _is_down(verdict):
            outage.missed(effort.probing)
        elif circuit.opened is not None or circuit.failed:
            circuit.heard()
            gate.release(BREAKER)
        return verdict

    return attempt_if_up


class _Outage:
    """Holds the gate while the circuit is open, and lets its probes through."""

    def __init__(self, breaker: Breaker, gate: Gate, stop: Stop) -> None:
        self.circuit = Circuit(breaker)
        self._gate, self._stop = gate, stop
        self._loop = asyncio.get_running_loop()
        self._next_probe: asyncio.TimerHandle | None = None

    def missed(self, probing: bool) -> None:
        """A try found nobody."""
        pause = self.circuit.missed(self._loop.time(), probing)
        if pause is None:
            return
        if self.circuit.is_hopeless(self._loop.time()):
            told = f"the endpoint has been down for {self.circuit.breaker.give_up:g} s (breaker.give_up)"
            self._stop.request(Exit.STOPPED, told)
        self._gate.hold(BREAKER)
        if self._next_probe is not None:
            self._next_probe.cancel()  # it may be due still, from an outage that is over
        self._next_probe = self._loop.call_later(pause, self._gate.let_one_through)


def _is_down(verdict: Verdict) -> bool:
    """Whether nobody was there: no connection, no answer, or a gateway that has nobody behind it."""
    if verdict.by_endpoint or verdict.meaning not in (Meaning.UNKNOWN, Meaning.NOT_TAKEN):
        return False
    # A limit is somebody's who is there, and a pause that is asked for is kept as it is.
    return verdict.error != OWN_MACHINE and verdict.http_status != 429 and verdict.retry_after is None


def failing(threshold: Threshold | None, stop: Stop) -> Callable[[int, str], None] | None:
    """What is to be told of every row that was not engaged; it ends the run when there are too many."""
    if threshold is None:
        return None
    failures = Failures(threshold)

    def count(settled: int, kind: str) -> None:
        if (why := failures.add(settled, kind)) is not None:
            stop.request(Exit.STOPPED, why)

    return count
