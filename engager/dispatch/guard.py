"""The mechanisms of rules: how tries and rows end in, a gate held shut, or the end of the run, out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engager.dispatch.layers import Attempt, Effort
from engager.dispatch.limits import BREAKER, Gate, Stop
from engager.dispatch.verdict import Meaning, Verdict
from engager.errors import Exit
from engager.model import OWN_MACHINE
from engager.rules import Breaker, Circuit, Failures, Threshold


def guarded(breaker: Breaker | None, gate: Gate, stop: Stop, attempt: Attempt) -> Attempt:
    """Let nothing leave while nobody is there; rows wait without using up their tries."""
    if breaker is None:
        return attempt
    circuit, now = Circuit(breaker), asyncio.get_running_loop().time

    async def attempt_if_up(effort: Effort) -> Verdict:
        # Here, and not only before the first byte: an endpoint that refuses connections lets no try
        # come that far.
        effort.probing = gate.shut and await gate.passes()
        verdict = await attempt(effort)
        if verdict.meaning is Meaning.WITHHELD or effort.expired:  # nobody was asked
            if effort.probing:
                gate.let_one_through()
        elif _is_down(verdict):
            _miss(circuit.missed(now(), effort.probing))
        elif circuit.opened is not None or circuit.failed:
            circuit.heard()
            gate.release(BREAKER)
        return verdict

    def _miss(pause: float | None) -> None:
        if pause is None:
            return
        if circuit.is_hopeless(now()):
            told = f"the endpoint has been down for {breaker.give_up:g} s (breaker.give_up)"
            stop.request(Exit.STOPPED, told)
        gate.hold(BREAKER)
        asyncio.get_running_loop().call_later(pause, gate.let_one_through)

    return attempt_if_up


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
