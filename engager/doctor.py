"""A job in, findings about its endpoint out: what is asked can engage nobody.

What only makes sense behind a check that failed is skipped; what cannot be told is unknown, and no failure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import orjson

from engager.deduplication import PAGE, Answer, cleared, list_twice, proof_of, start_twice, told
from engager.dispatch.limits import Stop
from engager.dispatch.verdict import Meaning, Verdict, judge, why_refused
from engager.endpoint import destination_of, origin_of, spec_of, token_of
from engager.job import JobFile
from engager.model import Ending, Reply
from engager.policy import Mode
from engager.reaching import Finding, Probe, State, certify, connect, resolve


async def examine(job_file: JobFile, tell: Callable[[Finding], None]) -> list[Finding]:
    """Carry out every check, and tell of each as it ends. Raises JobError."""
    secret = token_of(job_file)
    findings: list[Finding] = []
    async with origin_of(job_file.job) as origin:
        destination = destination_of(job_file, secret, origin)
        clearance = cleared(job_file.job.pace, Stop())
        probe = Probe(job_file.job, destination, spec_of(job_file, secret.reveal()), clearance)
        failed = ""
        for name, check in CHECKS.items():
            found = await check(probe) if not failed else Finding(State.SKIPPED, f"{failed} failed")
            if found.state is State.FAILED and name in NEEDED:
                failed = name
            seen = " ".join(secret.redact(found.seen).split())
            findings.append(replace(found, seen=seen, check=name))
            tell(findings[-1])
    return findings


def as_json(findings: Sequence[Finding]) -> str:
    """The findings for a program."""
    shown = [{"check": finding.check, **asdict(finding)} for finding in findings]
    return orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()


async def hear(probe: Probe) -> Finding:
    """Who answers there speaks for the endpoint, and is at work."""
    probe.start = await start_twice(probe.destination, probe.spec, probe.clearance)
    verdict = judge(probe.start.first)
    if not verdict.by_endpoint:
        advice = "look whether endpoint.url is the platform's address, and at the gateway before it"
        return Finding(State.FAILED, f"no answer of the endpoint's own: {told(verdict)}", advice)
    if _is_of_token(verdict) or verdict.meaning in (Meaning.TAKEN, Meaning.REJECTED):
        return Finding(State.OK, f"workflows/start answered {told(verdict)}")
    if verdict.meaning is Meaning.REFUSES_ALL:
        return Finding(State.FAILED, why_refused(verdict), "raise the tariff's limit")
    return Finding(State.FAILED, f"workflows/start answered {told(verdict)}", "try again later")


def _is_of_token(verdict: Verdict) -> bool:
    return not {401, 403}.isdisjoint((verdict.error, verdict.http_status))


async def identify(probe: Probe) -> Finding:
    """The token is known and may start scenarios."""
    probe.listing = await list_twice(probe.destination, probe.spec, probe.clearance)
    start, listing = judge(probe.start.first), judge(probe.listing.first)
    reference, auth = probe.job.endpoint.token, probe.job.endpoint.auth
    # An endpoint may look at the parameters before it looks at the token.
    refused = next((said for said in (start, listing) if _is_of_token(said)), None)
    if refused and (refused is start or 403 not in (refused.error, refused.http_status)):
        advice = f"look at what {reference} holds, at its rights, and at endpoint.auth, which is {auth}"
        return Finding(State.FAILED, why_refused(refused), advice)
    if refused or Meaning.TAKEN in (start.meaning, listing.meaning):
        return Finding(State.OK, f"the endpoint knows it (auth = {auth})")
    return Finding(State.UNKNOWN, f"it was not refused, and nothing was granted to it either: {told(start)}")


async def find_scenario(probe: Probe) -> Finding:
    """The scenario exists and is active, as far as the listing's form is known."""
    number = probe.job.request.get("id")
    if type(number) is not int:
        return Finding(State.SKIPPED, "request.id differs from row to row")
    verdict = judge(probe.listing.first)
    advice = f"look at scenario {number} in the platform"
    if verdict.meaning is not Meaning.TAKEN:
        return Finding(State.UNKNOWN, f"workflows/list answered {told(verdict)}", advice)
    listed = _listed(probe.listing.first)
    if not listed:
        seen = "lists no scenario" if listed == {} else "answers in a form that is not known"
        return Finding(State.UNKNOWN, f"workflows/list {seen}", advice)
    if str(number) in listed:
        return _of_activity(number, listed[str(number)].get("active"), advice)
    if len(listed) >= PAGE:
        return Finding(State.UNKNOWN, f"{number} is not among the first {PAGE}", advice)
    seen = f"{number} is not among the {len(listed)} that this token may see"
    return Finding(State.FAILED, seen, "mend request.id, or give the token the right to that scenario")


def _of_activity(number: int, active: Any, advice: str) -> Finding:
    if active is True:
        return Finding(State.OK, f"{number} exists and is active")
    if active is False:
        return Finding(State.FAILED, f"{number} exists and is not active", "activate it")
    return Finding(State.UNKNOWN, f"{number} exists; whether it is active is not told", advice)


def _listed(ending: Ending) -> Mapping[str, Mapping[str, Any]] | None:
    """The scenarios by their ids. Assumed: `data: [{id, name, active, …}]`; None for any other form."""
    try:
        data = orjson.loads(ending.body)["data"] if isinstance(ending, Reply) else None
        return {str(item["id"]): item for item in data} if isinstance(data, list) else None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


async def ask_for_nobody(probe: Probe) -> Finding:
    """A success means that a person was reached: a profile that cannot exist does not get one."""
    verdict = judge(probe.start.first)
    if verdict.meaning is Meaning.TAKEN:
        return Finding(
            State.UNKNOWN,
            "success was said for a profile that cannot exist",
            "do not take engaged for reached: send to one profile of your own and see what arrives",
        )
    return Finding(State.OK, "a profile that cannot exist is refused")


async def repeat(probe: Probe) -> Finding:
    """A repeated Request-ID is not carried out again, if the job's delivery mode relies on that."""
    proof = proof_of(probe.start, probe.listing)
    mode = probe.job.delivery.mode
    if proof.answer is Answer.NO and mode is not Mode.EXACTLY_ONCE:
        return Finding(State.OK, f"{proof.seen}; delivery.mode = {mode} does not rely on it")
    return Finding(_STATES[proof.answer], proof.seen, proof.advice)


_STATES = {
    Answer.YES: State.OK,
    Answer.NO: State.FAILED,
    Answer.SWALLOWS: State.FAILED,
    Answer.UNKNOWN: State.UNKNOWN,
}

#: The checks in their order.
CHECKS: Mapping[str, Callable[[Probe], Awaitable[Finding]]] = {
    "name": resolve,
    "connection": connect,
    "certificate": certify,
    "endpoint": hear,
    "token": identify,
    "scenario": find_scenario,
    "success": ask_for_nobody,
    "deduplication": repeat,
}

#: Where one of these failed, nothing can be said of what follows.
NEEDED = frozenset({"name", "connection", "certificate", "endpoint", "token"})
