"""The tasks in which the endpoint processes accepted rows: how far each is, as the endpoint says."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engager.altcraft.classification import Meaning, Verdict, is_transient, judge
from engager.altcraft.tasks import TASK_STATUS, TaskStatus, read_task_status, task_fields
from engager.config.job import JobFile
from engager.config.job_sections import SANDBOX
from engager.config.secret import Secret
from engager.endpoint.deduplication import describe
from engager.endpoint.methods import asked_again, request_to
from engager.endpoint.scenarios import Platform, platform_of, refusal
from engager.errors import RunDirectoryError
from engager.models import Ending, Reply, Status
from engager.reader.outcome_fields import MAX_TEXT
from engager.reader.results import results_of
from engager.sending.transport.base import MAX_ANSWER, Transport
from engager.sending.transport.choice import transport_to
from engager.store.run_directory import RunDirectory


@dataclass(frozen=True, slots=True)
class TaskReport:
    """A task of a run, and what the endpoint says of it."""

    task: str
    rows: int  #: of the run
    said: TaskStatus | None  #: None: see `problem`
    problem: str | None = None  #: the error of the endpoint, or why its response is unknown or missing

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        said = dict.fromkeys(TaskStatus.__dataclass_fields__) if self.said is None else asdict(self.said)
        return {"task": self.task, "rows": self.rows, **said, "problem": self.problem}


def tasks_of(found: RunDirectory) -> Counter[str]:
    """The tasks in the results of a run, with their rows: the references of its accepted rows."""
    if not found.results_path.exists():
        return Counter()
    return Counter(
        one.reference
        for one in results_of(found.results_path)
        if one.status is Status.ACCEPTED and one.reference
    )


async def ask_for_tasks(job_file: JobFile, tasks: Mapping[str, int]) -> list[TaskReport]:
    """Ask the endpoint of a job for each task, one after the other, at the rate of the job.

    A task for which there is no response is asked for again some times, and reported with this problem.

    Raises:
        JobError: the token cannot be read.
        RunDirectoryError: the endpoint was an embedded sandbox.
        EndpointError: it refuses every such request, or there was a response for no task.

    """
    if job_file.job.endpoint.url == SANDBOX and tasks:
        raise RunDirectoryError(
            'endpoint.url = "sandbox": the embedded sandbox ended with the run, and its tasks with it. '
            "Tasks outlast a run at the platform, and at a sandbox of its own (engager sandbox)."
        )
    async with platform_of(job_file) as platform:
        return await _ask_for_each(platform, tasks)


async def _ask_for_each(platform: Platform, tasks: Mapping[str, int]) -> list[TaskReport]:
    reports, lost = list[TaskReport](), list[Verdict]()
    there, _ = request_to(platform.destination, platform.spec, TASK_STATUS)
    transport = transport_to(there, 1)
    try:
        for task, rows in tasks.items():
            _, body = request_to(platform.destination, platform.spec, TASK_STATUS, **task_fields(task))
            ending, verdict = await _asked(platform, transport, body)
            if verdict.meaning is Meaning.FATAL:
                raise refusal("tasks/status", verdict)
            if not isinstance(ending, Reply):
                lost.append(verdict)
            reports.append(_report(task, rows, ending, verdict))
    finally:
        await transport.aclose()
    if lost and len(lost) == len(tasks):
        raise refusal("tasks/status", lost[-1])
    return reports


async def _asked(platform: Platform, transport: Transport, body: tuple[bytes, ...]) -> tuple[Ending, Verdict]:
    """Ask for a task, and ask again where the response speaks of that moment only."""

    async def ask() -> tuple[Ending, Verdict]:
        # Under a new Request-ID: a repeated one would return an old state.
        ending = await transport.send(body, secrets.token_hex(16), platform.admission)
        return ending, judge(ending, MAX_ANSWER)

    return await asked_again(ask, _speaks_of_a_moment)


def _speaks_of_a_moment(said: tuple[Ending, Verdict]) -> bool:
    """Whether there is no response, or one that says that the endpoint is not available."""
    ending, verdict = said
    return verdict.meaning is not Meaning.FATAL and (not isinstance(ending, Reply) or is_transient(verdict))


def _report(task: str, rows: int, ending: Ending, verdict: Verdict) -> TaskReport:
    """What a response says of a task."""
    if not isinstance(ending, Reply):
        return TaskReport(task, rows, None, _shown(f"no answer: {verdict.error_text}"))
    if verdict.meaning is Meaning.ACCEPTED and (said := read_task_status(ending)) is not None:
        return TaskReport(task, rows, said)
    if verdict.by_endpoint and verdict.error:
        return TaskReport(task, rows, None, _shown(f"error {describe(verdict)}"))
    seen = f"HTTP {ending.status} without the status of a task" if verdict.by_endpoint else describe(verdict)
    return TaskReport(task, rows, None, _shown(f"unknown answer: {seen}"))


def _shown(text: str) -> str:
    """A text without secrets, which are removed before it is cut."""
    return Secret.redact_all(text)[:MAX_TEXT]
