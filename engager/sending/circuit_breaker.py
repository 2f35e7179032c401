"""The mechanism of the circuit breaker: pauses the run while the endpoint is down, and lets probes leave."""

from __future__ import annotations

import asyncio
import time

from engager.altcraft.classification import Meaning, Verdict
from engager.errors import Exit
from engager.models import NOT_OF_ENDPOINT
from engager.policies.circuit_breaker import Breaker, Circuit
from engager.sending.pause import BREAKER, PauseGate
from engager.sending.stop import Stop


class CircuitBreaker:
    """Pauses the run while the circuit is open; paused rows use up no attempts."""

    def __init__(self, breaker: Breaker, gate: PauseGate, stop: Stop) -> None:
        self._circuit = Circuit(breaker)
        self.is_calm = True  #: no attempt failed since the last success
        self._gate, self._stop = gate, stop
        self._loop = asyncio.get_running_loop()
        self._next_probe: asyncio.TimerHandle | None = None

    def observe(self, verdict: Verdict, probing: bool) -> None:
        """An attempt was sent, as a probe or not."""
        if verdict.error in NOT_OF_ENDPOINT:  # it shows neither that the endpoint is down nor that it is up
            if probing:
                self._gate.allow_probe()
        elif _is_down(verdict):
            self.is_calm = False
            self._record_failure(verdict, probing)
        elif not self.is_calm:
            self.is_calm = True
            self._circuit.record_success()
            self._gate.resume(BREAKER)

    def _record_failure(self, verdict: Verdict, probing: bool) -> None:
        pause = self._circuit.record_failure(self._loop.time(), probing)
        if pause is None:
            return
        if self._circuit.is_hopeless(self._loop.time()):
            text = f"the endpoint has been down for {self._circuit.breaker.give_up:g} s (breaker.give_up)"
            self._stop.request(Exit.STOPPED, text)
        error = verdict.error if verdict.http_status is None else f"HTTP {verdict.http_status}"
        next_probe = time.strftime("%H:%M:%S", time.localtime(time.time() + pause))
        self._gate.pause(BREAKER, f"the endpoint is down ({error}); a probe leaves at {next_probe}")
        if self._next_probe is not None:
            self._next_probe.cancel()  # it may still be due from an outage that is over
        self._next_probe = self._loop.call_later(pause, self._gate.allow_probe)


def _is_down(verdict: Verdict) -> bool:
    """Whether no endpoint responds: no connection, no response, or a gateway without an endpoint."""
    if verdict.by_endpoint or verdict.meaning not in (Meaning.UNKNOWN, Meaning.NOT_ACCEPTED):
        return False
    # A rate limit shows that the endpoint is up, and a pause that it asks for is not changed.
    return verdict.http_status != 429 and verdict.retry_after is None
