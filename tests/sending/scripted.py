"""Sends rows in virtual time, to a script instead of a network."""

from __future__ import annotations

import asyncio
from typing import Any

from engager.models import (
    Ending,
    EngageRequest,
    Lost,
    NotSent,
    Outcome,
    Reply,
    Row,
    Withheld,
)
from engager.policies.delivery import Delivery, Mode
from engager.policies.rate import Pace
from engager.policies.retry import Retry
from engager.policies.slow_start import SlowStart
from engager.sending.admission import AdmissionControl, BeforeSend
from engager.sending.limits import Limits, RateLimiter, RetryBudget
from engager.sending.pause import PauseGate
from engager.sending.retry import Engage, Retrying, with_retry
from engager.sending.sender import Send, Sender
from engager.sending.stop import Stop
from engager.sending.transport.base import Admission, is_admitted

OK = Reply(200, b'{"data":null,"error":0,"error_text":"Successful operation"}')
REJECTION = Reply(200, b'{"data":null,"error":400,"error_text":"no such profile"}')
BUSY = Reply(503, b"")
TOO_MANY = Reply(429, b"")
REFUSED = NotSent("connect_failed", "refused")
SILENT = Lost("timeout", "silence")
REPEATED = Reply(200, b'{"data":null,"error":500,"error_text":"fault"}', duplicate=True)


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


def compose(script: Send, **settings: Any) -> Engage:
    """All policies around a script, for single rows; the settings are those of `retrying`."""
    return retrying(script, **settings).engage


def retrying(
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
) -> Retrying:
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
        lambda first, version: f"{first}.{version}",
        lambda request: None,
        clock,
    )


def recording(stored: list[str]) -> BeforeSend:
    """A store that records the request ids of the requests that leave."""

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


def done_after(seconds: float) -> asyncio.Future[None]:
    """A future that is done after these seconds, as that of a slow disk."""
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
