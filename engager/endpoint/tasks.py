"""The tasks in which the endpoint processes accepted rows: how far each is, as the endpoint says."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engager.altcraft.classification import Meaning, judge
from engager.altcraft.tasks import TASK_STATUS, TaskStatus, read_task_status, task_fields
from engager.config.job import JobFile
from engager.config.job_sections import SANDBOX
from engager.config.secret import Secret
from engager.endpoint.deduplication import describe
from engager.endpoint.methods import request_to
from engager.endpoint.scenarios import Platform, platform_of, refusal
from engager.errors import RunDirectoryError
from engager.models import Ending, Reply, Status
from engager.reader.outcome_fields import MAX_TEXT
from engager.reader.results import results_of
from engager.sending.transport.base import MAX_ANSWER
from engager.sending.transport.choice import transport_to
from engager.store.run_directory import RunDirectory


@dataclass(frozen=True, slots=True)
class TaskReport:
    """A task of a run, and what the endpoint says of it."""

    task: str
    rows: int  #: of the run
    said: TaskStatus | None  #: None: see `problem`
    problem: str | None = None  #: the error of the endpoint, or how its response is unknown

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

    Raises:
        JobError: the token cannot be read.
        RunDirectoryError: the endpoint was an embedded sandbox.
        EndpointError: it refuses every such request, or a response was lost.

    """
    if job_file.job.endpoint.url == SANDBOX and tasks:
        raise RunDirectoryError(
            'endpoint.url = "sandbox": the embedded sandbox ended with the run, and its tasks with it. '
            "Tasks outlast a run at the platform, and at a sandbox of its own (engager sandbox)."
        )
    async with platform_of(job_file) as platform:
        return await _ask_for_each(platform, tasks)


async def _ask_for_each(platform: Platform, tasks: Mapping[str, int]) -> list[TaskReport]:
    reports = []
    there, _ = request_to(platform.destination, platform.spec, TASK_STATUS)
    transport = transport_to(there, 1)
    try:
        for task, rows in tasks.items():
            _, body = request_to(platform.destination, platform.spec, TASK_STATUS, **task_fields(task))
            # Under a new Request-ID: a repeated one would return an old state.
            ending = await transport.send(body, secrets.token_hex(16), platform.admission)
            reports.append(_report(task, rows, ending))
    finally:
        await transport.aclose()
    return reports


def _report(task: str, rows: int, ending: Ending) -> TaskReport:
    """What a response says of a task. Raises EndpointError if it speaks for every task, or is lost."""
    verdict = judge(ending, MAX_ANSWER)
    if not isinstance(ending, Reply) or verdict.meaning is Meaning.FATAL:
        raise refusal("tasks/status", verdict)
    if verdict.meaning is Meaning.ACCEPTED and (said := read_task_status(ending)) is not None:
        return TaskReport(task, rows, said)
    if verdict.by_endpoint and verdict.error:
        return TaskReport(task, rows, None, _shown(f"error {describe(verdict)}"))
    seen = f"HTTP {ending.status} without the status of a task" if verdict.by_endpoint else describe(verdict)
    return TaskReport(task, rows, None, _shown(f"unknown answer: {seen}"))


def _shown(text: str) -> str:
    """A text without secrets, which are removed before it is cut."""
    return Secret.redact_all(text)[:MAX_TEXT]
