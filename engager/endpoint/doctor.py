"""Tests of the endpoint, which engage no person.

A test is skipped if a test that it depends on failed. A result that cannot be determined is unknown, and not
a failure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace

from engager.altcraft.classification import (
    Meaning,
    Verdict,
    fatal_reason,
    is_transient,
    judge,
    judge_batch,
)
from engager.altcraft.scenarios import Scenario, read_listing
from engager.config.as_json import as_json
from engager.config.job import JobFile
from engager.config.sanitize import sanitized
from engager.config.secret import Secret
from engager.endpoint.access import destination_of, least_token, origin_of, spec_of, token_of
from engager.endpoint.connectivity import Finding, Probe, State, certify, connect, resolve
from engager.endpoint.deduplication import (
    NOBODIES,
    Deduplication,
    RepeatedRequest,
    admission_of,
    describe,
    list_twice,
    proof_of,
    start_twice,
)
from engager.endpoint.methods import asked_again
from engager.endpoint.scenarios import Platform
from engager.endpoint.sender_checks import check_senders
from engager.endpoint.senders import settings_of
from engager.policies.delivery import Mode
from engager.sending.stop import Stop
from engager.sending.transport.base import MAX_ANSWER


async def examine(job_file: JobFile, on_finding: Callable[[Finding], None]) -> list[Finding]:
    """Run every check, and report each finding as soon as it is known. Raises JobError."""
    secret = token_of(job_file)
    findings: list[Finding] = []

    def report(found: Finding) -> None:
        findings.append(replace(found, seen=_shown(found.seen), advice=_shown(found.advice)))
        on_finding(findings[-1])

    async with origin_of(job_file.job) as origin:
        destination = destination_of(job_file, secret, origin)
        clearance = admission_of(job_file.job.pace, Stop())
        probe = Probe(job_file.job, destination, spec_of(job_file, secret.reveal()), clearance)
        failed = ""
        for name, check in CHECKS.items():
            found = await check(probe) if not failed else Finding(State.SKIPPED, f"{failed} failed")
            if found.state is State.FAILED and name in NEEDED:
                failed = name
            report(replace(found, check=name))
        if job_file.job.is_remote:
            settings = settings_of(job_file, destination, least_token(job_file.job))
            await check_senders(job_file, settings, secret, report)
    return findings


def _shown(text: str) -> str:
    """One line without secrets and without what controls a terminal."""
    return " ".join(sanitized(Secret.redact_all(text), " ").split())


def document_of(findings: Sequence[Finding]) -> bytes:
    """The findings as a JSON document."""
    shown = [{"check": finding.check, **asdict(finding)} for finding in findings]
    return as_json(shown, indented=True)


async def _asked(ask: Callable[[], Awaitable[RepeatedRequest]]) -> RepeatedRequest:
    """Ask, and ask again where a response speaks of that moment only."""
    return await asked_again(ask, _speaks_of_a_moment)


def _speaks_of_a_moment(found: RepeatedRequest) -> bool:
    verdicts = (*found.verdicts, *(judge(one, MAX_ANSWER) for one in (found.first, found.second)))
    return any(map(is_transient, verdicts))


async def check_endpoint(probe: Probe) -> Finding:
    """The server responds in the endpoint's own format, and is available."""
    probe.start = await _asked(lambda: start_twice(probe.destination, probe.spec, probe.admission))
    verdict, path = probe.start.verdicts[0], probe.job.method.path
    if not verdict.by_endpoint:
        advice = "verify that endpoint.url is the address of the platform, and check the gateway before it"
        return Finding(State.FAILED, f"no response in the endpoint's own format: {describe(verdict)}", advice)
    if _is_of_token(verdict) or verdict.meaning in (Meaning.ACCEPTED, Meaning.REJECTED):
        return Finding(State.OK, f"{path} returned {describe(verdict)}")
    if verdict.meaning is Meaning.FATAL:
        return Finding(State.FAILED, fatal_reason(verdict), "raise the limit of the tariff")
    return Finding(State.FAILED, f"{path} returned {describe(verdict)}", "try again later")


def _is_of_token(verdict: Verdict) -> bool:
    return not {401, 403}.isdisjoint((verdict.error, verdict.http_status))


async def check_token(probe: Probe) -> Finding:
    """The endpoint accepts the token."""
    probe.listing = await _asked(lambda: list_twice(probe.destination, probe.spec, probe.admission))
    start, listing = probe.start.verdicts[0], judge(probe.listing.first, MAX_ANSWER)
    reference, auth = probe.job.endpoint.token, probe.job.endpoint.auth
    # An endpoint may check the parameters before the token.
    refused = next((verdict for verdict in (start, listing) if _is_of_token(verdict)), None)
    if refused and (refused is start or 403 not in (refused.error, refused.http_status)):
        advice = (
            f"check the content of {reference}, the rights of the token, and endpoint.auth, which is {auth}"
        )
        return Finding(State.FAILED, fatal_reason(refused), advice)
    if refused or Meaning.ACCEPTED in (start.meaning, listing.meaning):
        return Finding(State.OK, f"the endpoint accepts the token (auth = {auth})")
    return Finding(State.UNKNOWN, f"the token was neither accepted nor refused: {describe(start)}")


async def check_scenario(probe: Probe) -> Finding:
    """The scenario exists and is active, as far as the format of the listing is known."""
    number, key = probe.job.scenario, probe.job.scenario_key
    if type(number) is not int:
        return Finding(State.SKIPPED, f"{key} differs from row to row")
    verdict = judge(probe.listing.first, MAX_ANSWER)
    advice = f"check scenario {number} in the platform"
    if verdict.meaning is not Meaning.ACCEPTED:
        return Finding(State.UNKNOWN, f"workflows/list returned {describe(verdict)}", advice)
    listed = read_listing(probe.listing.first)
    if listed is None:
        return Finding(State.UNKNOWN, "workflows/list returned an unknown format", advice)
    if found := next((scenario for scenario in listed if scenario.id == number), None):
        return _of_activity(found, advice)
    if not listed and not await _lists_any(probe):
        return Finding(State.UNKNOWN, "workflows/list lists no scenario", advice)
    seen = f"scenario {number} is not visible to this token"
    return Finding(State.FAILED, seen, f"correct {key}, or give the token the right to this scenario")


def _of_activity(scenario: Scenario, advice: str) -> Finding:
    if scenario.active is None:
        return Finding(
            State.UNKNOWN,
            f"scenario {scenario.id} exists; the listing does not say whether it is active",
            advice,
        )
    if scenario.active:
        return Finding(State.OK, f"scenario {scenario.id} exists and is active")
    return Finding(
        State.FAILED,
        f"scenario {scenario.id} exists and is inactive",
        "activate it with engager scenarios activate",
    )


async def _lists_any(probe: Probe) -> bool:
    """Whether the listing has any scenario with a lower number."""
    platform = Platform(probe.destination, probe.spec, probe.admission)
    return bool(read_listing(await platform.ask("list", limit=1)))


async def check_success(probe: Probe) -> Finding:
    """The endpoint does not report success for a profile that cannot exist."""
    verdict, _ = probe.start.verdicts
    if verdict.meaning is Meaning.ACCEPTED:
        return Finding(
            State.UNKNOWN,
            "the endpoint reported success for a profile that cannot exist",
            "engaged may not mean reached: send to one profile of your own and check what arrives",
        )
    return Finding(State.OK, "the endpoint refuses a profile that cannot exist")


async def check_batches(probe: Probe) -> Finding:
    """A response to a batch says what became of each row."""
    method = probe.job.method
    if not method.is_batch:
        return Finding(State.SKIPPED, f"{method.name} carries one row")
    if method.is_task:
        return Finding(State.OK, f"{method.name} responds before it imports, so its rows become accepted")
    verdict = judge_batch(probe.start.first, len(NOBODIES), method.is_task)
    if verdict.rows:
        return Finding(State.OK, f"{method.name} responds with an entry for each row")
    if verdict.meaning is Meaning.REJECTED:
        seen = "a batch of profiles that cannot exist is refused as a whole"
        return Finding(State.UNKNOWN, seen, "batch.split halves such a batch until its bad rows are found")
    return Finding(
        State.UNKNOWN,
        f"{method.name} does not say what became of each row ({describe(verdict)})",
        'rows would become accepted or in_doubt; request.method = "import_and_start" proves each',
    )


async def check_deduplication(probe: Probe) -> Finding:
    """The endpoint deduplicates by Request-ID, if the delivery mode of the job relies on it."""
    proof = proof_of(probe.start, probe.listing)
    mode = probe.job.delivery.mode
    if proof.answer is Deduplication.NO and mode is not Mode.EXACTLY_ONCE:
        return Finding(State.OK, f"{proof.seen}; delivery.mode = {mode} does not rely on it")
    return Finding(_STATES[proof.answer], proof.seen, proof.advice)


_STATES = {
    Deduplication.YES: State.OK,
    Deduplication.NO: State.FAILED,
    Deduplication.SWALLOWS: State.FAILED,
    Deduplication.UNKNOWN: State.UNKNOWN,
}

#: The checks in their order.
CHECKS: Mapping[str, Callable[[Probe], Awaitable[Finding]]] = {
    "name": resolve,
    "connection": connect,
    "certificate": certify,
    "endpoint": check_endpoint,
    "token": check_token,
    "scenario": check_scenario,
    "success": check_success,
    "batches": check_batches,
    "deduplication": check_deduplication,
}

#: If one of these fails, the following checks are skipped.
NEEDED = frozenset({"name", "connection", "certificate", "endpoint", "token"})
