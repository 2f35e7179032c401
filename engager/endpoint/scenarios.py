"""The scenarios of the endpoint: list all, activate or deactivate one."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from engager.altcraft.classification import Meaning, Verdict, fatal_reason, judge
from engager.altcraft.scenarios import PAGE, Scenario, read_listing
from engager.config.job import JobFile
from engager.endpoint.access import destination_of, origin_of, spec_of, token_of
from engager.endpoint.deduplication import admission_of, describe
from engager.endpoint.methods import request_to
from engager.errors import EndpointError, Exit, JobError
from engager.models import Ending, Reply
from engager.requests.builder import RequestSpec
from engager.sending.stop import Stop
from engager.sending.transport.base import MAX_ANSWER, Admission, Destination
from engager.sending.transport.choice import transport_to


@dataclass(frozen=True, slots=True)
class Platform:
    """The endpoint of a job, for methods that engage no person."""

    destination: Destination
    spec: RequestSpec
    admission: Admission

    async def ask(self, method: str, **fields: Any) -> Ending:
        """Send one request under a new Request-ID: a repeated id would return an old state."""
        there, body = request_to(self.destination, self.spec, method, **fields)
        transport = transport_to(there, 1)
        try:
            return await transport.send(body, secrets.token_hex(16), self.admission)
        finally:
            await transport.aclose()


@asynccontextmanager
async def platform_of(job_file: JobFile) -> AsyncIterator[Platform]:
    """The endpoint of the job, at the rate of the job. Raises JobError."""
    secret = token_of(job_file)
    async with origin_of(job_file.job) as origin:
        destination = destination_of(job_file, secret, origin)
        yield Platform(
            destination, spec_of(job_file, secret.reveal()), admission_of(job_file.job.pace, Stop())
        )


async def list_all(platform: Platform) -> list[Scenario]:
    """Every scenario that the token may see, in the order of ids. Raises EndpointError.

    A page may be shorter than requested, so only an empty page is the end.
    """
    found: dict[int, Scenario] = {}
    while page := await _page(platform, max(found, default=0) + 1):
        before = len(found)
        found |= {item.id: item for item in page}
        if len(found) == before:  # the endpoint ignores from_id
            break
    return [found[number] for number in sorted(found)]


async def find(platform: Platform, number: int) -> Scenario | None:
    """One scenario; None where the token does not see it. Raises EndpointError."""
    return next((item for item in await _page(platform, number) if item.id == number), None)


async def _page(platform: Platform, from_id: int) -> Sequence[Scenario]:
    limit = PAGE
    while _is_cut_off(ending := await platform.ask("list", from_id=from_id, limit=limit)) and limit > 1:
        limit //= 2
    verdict = judge(ending, MAX_ANSWER)
    if verdict.meaning is not Meaning.ACCEPTED:
        raise refusal("workflows/list", verdict)
    listed = read_listing(ending)
    if listed is None:
        raise EndpointError("workflows/list returned an unknown format.", Exit.WRONG)
    return listed


def _is_cut_off(ending: Ending) -> bool:
    return isinstance(ending, Reply) and ending.status == 200 and not ending.complete


def refusal(method: str, verdict: Verdict) -> EndpointError:
    """The error of a request whose response is not the requested one; `method` as in the documentation."""
    text = f"{method} returned {describe(verdict)}"
    if verdict.meaning is Meaning.REJECTED:
        return EndpointError(f"{text}.", Exit.WRONG)
    if verdict.meaning is Meaning.FATAL:
        return EndpointError(f"{method}: {fatal_reason(verdict)}.", Exit.WRONG)
    return EndpointError(f"{text}. Run the same command again later.", Exit.STOPPED)


@dataclass(frozen=True, slots=True)
class SwitchResult:
    """The result of `activate` or `deactivate`."""

    id: int
    before: Scenario | None  #: None: the token does not see it
    after: bool | None  #: None: unknown
    asked: bool  #: whether a request was sent


async def switch(
    platform: Platform, number: int, active: bool, consents: Callable[[Scenario | None], bool]
) -> SwitchResult:
    """Activate or deactivate a scenario, unless it is so already or the person does not confirm.

    The state after it is read again: a response can be lost, and a success can come from a gateway. Raises
    EndpointError, also if the scenario does not have the requested state.
    """
    before = await find(platform, number)
    if before is not None and before.active is active:
        return SwitchResult(number, before, active, asked=False)
    if not consents(before):
        return SwitchResult(number, before, before.active if before else None, asked=False)
    method = "activate" if active else "deactivate"
    verdict = judge(await platform.ask(method, id=number))
    after = await _looked_up(platform, number)
    if after is None and verdict.meaning is Meaning.ACCEPTED:
        return SwitchResult(number, before, active, asked=True)
    if after is not active:
        raise _unswitched(method, verdict, number, after)
    return SwitchResult(number, before, after, asked=True)


async def _looked_up(platform: Platform, number: int) -> bool | None:
    try:
        found = await find(platform, number)
    except EndpointError:  # the response to the switch is more important
        return None
    return found.active if found else None


def _unswitched(method: str, verdict: Verdict, number: int, after: bool | None) -> EndpointError:
    if verdict.meaning is not Meaning.ACCEPTED:
        return refusal(f"workflows/{method}", verdict)
    text = (
        f"workflows/{method} reported success, but scenario {number} is {'active' if after else 'inactive'}"
    )
    return EndpointError(f"{text}. Check it in the platform.", Exit.STOPPED)


def scenario_of(job_file: JobFile) -> int:
    """The scenario of the job. Raises JobError if the rows name it."""
    number = job_file.job.scenario
    if type(number) is not int:
        raise JobError(
            job_file.at(
                job_file.job.scenario_key,
                "the value differs from row to row; give the ID of a scenario after JOB",
            )
        )
    return number
