"""A test whether an endpoint deduplicates, which engages no person.

Documented: a repeated Request-ID is not processed again, and gets the first response with a mark. Not
documented: whether error responses are remembered, and whether methods that only read take part. So a mark on
a repeat proves deduplication; a missing mark proves the contrary only after a success of `workflows/start`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any
from urllib.parse import urljoin

from engager.altcraft.classification import Meaning, Verdict, judge, judge_batch
from engager.altcraft.methods import API, START, Method, method_of
from engager.altcraft.scenarios import PAGE
from engager.config.log import log
from engager.endpoint.methods import request_to
from engager.errors import Exit
from engager.models import Ending, EngageRequest, Reply, Row, Withheld
from engager.policies.rate import Pace
from engager.requests.builder import RequestSpec, compile_builder
from engager.sending.limits import RateLimiter
from engager.sending.stop import Stop
from engager.sending.transport.base import MAX_ANSWER, Admission, Destination
from engager.sending.transport.choice import transport_to

#: Profile ids begin with the second of their creation, in hexadecimal: this one is in the year 2106.
UNKNOWN_PROFILE = "ffffffff"

#: The rows of the profiles that cannot exist: a batch of two shows whether it is answered by row.
NOBODIES = (1, 2)

#: Used if the rows name the scenario: no platform has so many.
NO_SCENARIO = 2_147_483_647


@dataclass(frozen=True, slots=True)
class RepeatedRequest:
    """The endings of one request that was sent twice under one Request-ID."""

    first: Ending
    second: Ending
    method: Method = START

    @property
    def verdicts(self) -> tuple[Verdict, Verdict]:
        """What the two endings prove; of a batch with an entry for each row, what the first entry proves."""
        return self._judged(self.first), self._judged(self.second)

    def _judged(self, ending: Ending) -> Verdict:
        if not self.method.is_batch:
            return judge(ending)
        verdict = judge_batch(ending, len(NOBODIES), self.method.is_task)
        return verdict.rows[0] if verdict.rows else verdict


class Deduplication(Enum):
    """Whether an endpoint deduplicates."""

    YES = auto()  #: a repeat is not processed again
    NO = auto()  #: a repeat is processed again
    SWALLOWS = auto()  #: even a first request counts as a repeat
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of the test."""

    answer: Deduplication
    seen: str  #: what proves it, or why nothing is proved

    @property
    def advice(self) -> str:
        """What to do."""
        return _ADVICE[self.answer]


_ADVICE: Mapping[Deduplication, str] = {
    Deduplication.YES: "",
    Deduplication.NO: (
        'set delivery.mode to "at-most-once" (a lost response leaves its row in doubt) or, if a repeat is '
        'harmless, to "at-least-once"; or have deduplication turned on, and every gateway pass '
        "Request-ID and Duplicate-Request"
    ),
    Deduplication.SWALLOWS: (
        "find the gateway that sets Request-ID itself: rows would be lost and look like successes"
    ),
    Deduplication.UNKNOWN: (
        "ask the owner of the platform whether it deduplicates by Request-ID; if it does not, "
        'delivery.mode = "at-most-once" messages no person twice'
    ),
}


async def refuse_without_deduplication(
    destination: Destination, spec: RequestSpec, pace: Pace | None, stop: Stop
) -> None:
    """Stop a run in exactly-once before its first row if the endpoint provably does not deduplicate."""
    clearance = admission_of(pace, stop)
    start = await start_twice(destination, spec, clearance)
    proof = proof_of(start, await list_twice(destination, spec, clearance))
    if stop.requested:
        return
    if proof.answer is Deduplication.UNKNOWN:
        log.warning("it is unknown whether the endpoint deduplicates: %s; %s", proof.seen, proof.advice)
    elif proof.answer is not Deduplication.YES:
        unfit = f"no row was sent, because this endpoint does not support exactly-once: {proof.seen}"
        stop.request(Exit.WRONG, f"{unfit}; {proof.advice}")
    if pace is not None:  # the run has its own rate limiter, and the rate holds for both together
        await stop.sleep(1)


def admission_of(pace: Pace | None, stop: Stop) -> Admission:
    """Admission at the rate of the job, until the stop."""
    rate_limiter = RateLimiter(pace, stop) if pace else None

    async def clear() -> bool:
        if rate_limiter is not None:
            await rate_limiter.wait()
        return not stop.requested

    return clear


def proof_of(start: RepeatedRequest, listing: RepeatedRequest) -> Proof:
    """What the two repeats prove."""
    path = start.method.path
    first, second = start.verdicts
    if first.duplicate:
        return Proof(Deduplication.SWALLOWS, f"{path} marked a first request as a repeat")
    if second.duplicate:
        return Proof(Deduplication.YES, f"a repeated {path} is marked as a repeat")
    if first.meaning is Meaning.ACCEPTED and _is_answer(second):
        return Proof(Deduplication.NO, f"{path} reported success and processed the repeat again")
    if judge(listing.second, MAX_ANSWER).duplicate and not judge(listing.first, MAX_ANSWER).duplicate:
        return Proof(Deduplication.YES, "a repeated workflows/list is marked as a repeat")
    return Proof(Deduplication.UNKNOWN, f"no repeat is marked, but {_why_unknown(path, first, second)}")


def _is_answer(verdict: Verdict) -> bool:
    return verdict.by_endpoint and verdict.meaning in (Meaning.ACCEPTED, Meaning.REJECTED)


def _why_unknown(path: str, first: Verdict, second: Verdict) -> str:
    if _is_answer(first) and _is_answer(second):
        return f"the endpoint may not remember errors ({describe(first)}) and listings"
    return f"{path} returned no usable response ({describe(second if _is_answer(first) else first)})"


def describe(verdict: Verdict) -> str:
    """A verdict as text."""
    if verdict.meaning is Meaning.NOT_SENT:
        return "not sent"
    code = f"{verdict.error}: " if isinstance(verdict.error, int) else ""
    return f"{code}{verdict.error_text}"


def _scenario_of(spec: RequestSpec) -> Any:
    method = method_of(spec.parameters) or START
    return spec.parameters.get(method.scenario)


async def start_twice(destination: Destination, spec: RequestSpec, admission: Admission) -> RepeatedRequest:
    """Send the method of the job for profiles that cannot exist, twice under one Request-ID.

    Assumed: an import that matches by profile_id creates no profile, and the vendor says so of one without
    `data`.
    """
    method, scenario = method_of(spec.parameters) or START, _scenario_of(spec)
    parameters = {
        "method": method.name,
        method.scenario: scenario if type(scenario) is int else NO_SCENARIO,
        "matching": "profile_id",
        "profile_id": "{profile}",
    }
    if method.is_import:
        parameters["skip_triggers"] = True
    builder = compile_builder(replace(spec, parameters=parameters), ("profile",), "")
    bodies = list[tuple[bytes, ...]]()
    for number in NOBODIES if method.is_batch else NOBODIES[:1]:
        built = builder.build(Row(number, 1, "", (UNKNOWN_PROFILE + secrets.token_hex(8),)))
        assert isinstance(built, EngageRequest)  # noqa: S101 - every value is our own
        bodies.append(built.body)
    body = builder.join([item for (item,) in bodies])[1] if method.is_batch else bodies[0]
    start = replace(destination, url=urljoin(destination.url, f"{API}{method.path}"))
    return replace(await _twice(start, body, admission), method=method)


async def list_twice(destination: Destination, spec: RequestSpec, admission: Admission) -> RepeatedRequest:
    """List the scenarios from the one of the job on, twice under one Request-ID."""
    scenario = _scenario_of(spec)
    from_id = scenario if type(scenario) is int else 1
    return await _twice(*request_to(destination, spec, "list", from_id=from_id, limit=PAGE), admission)


async def _twice(destination: Destination, body: tuple[bytes, ...], admission: Admission) -> RepeatedRequest:
    request_id = secrets.token_hex(16)
    transport = transport_to(destination, 1)
    try:
        first = await transport.send(body, request_id, admission)
        if not isinstance(first, Reply):  # a second silence would only take as long again
            return RepeatedRequest(first, Withheld())
        return RepeatedRequest(first, await transport.send(body, request_id, admission))
    finally:
        await transport.aclose()
