"""Where a pass sends, and with which secret: shown before it sends, and never other than the operator says.

The call of a run stands in its run directory, which others may have made or changed. A pass follows it to
another endpoint, scenario or token than the job file names only if the operator names that one, too.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engager.config.job import JobFile
from engager.config.job_sections import SANDBOX
from engager.config.profiles import chosen_by
from engager.errors import RunDirectoryError
from engager.store.run_directory import RunDirectory

#: Keys of [endpoint] that say to whom requests and the token go.
_LEADING = ("url", "token", "proxy", "ca_file", "client_cert", "transport")


def destination_of(job_file: JobFile) -> str:
    """The endpoint, the scenario and the reference to the token, for a person to look at."""
    job = job_file.job
    source = "" if job_file.path is None else f", by the job {job_file.path}"
    token = job.endpoint.token or "none"
    profile = "" if job_file.profile is None else f", profile {job_file.profile}"
    if job.endpoint.url == SANDBOX:
        return f"sends to the sandbox, scenario {job.scenario}: nobody is reached{profile}{source}"
    return f"sends to {job.endpoint.url}, scenario {job.scenario}, token {token}{profile}{source}"


def refuse_other_destination(
    found: RunDirectory, job_file: JobFile, overrides: Sequence[str], *options: str, command: str = "retry"
) -> None:
    """Refuse a call that leads elsewhere than the job file with the operator's own overrides.

    `command` and its `options` are those that the operator called.

    A job that has no file, but was given by a program, has nothing to be compared with.

    Raises:
        RunDirectoryError: the call leads elsewhere.
        JobError: the job file is not valid without the overrides of the run.

    """
    if job_file.path is None:
        return
    meant, stored = _leading(JobFile(Path(job_file.path), overrides)), _leading(job_file)
    differing = [key for key in stored if stored[key] != meant.get(key)]
    if not differing:
        return
    differences = "; ".join(
        f"{key} is {stored[key]!r}, and in the job file {meant.get(key)!r}" for key in differing
    )
    sets = [part for key in differing for part in ("--set", f"{key}={_as_given(stored[key])}")]
    if job_file.profile is not None and chosen_by(overrides) is None and chosen_by(job_file.overrides):
        sets = ["--profile", job_file.profile]
    raise RunDirectoryError(
        f"{found.path}: this run was begun with overrides that lead elsewhere than "
        f"{job_file.path}: {differences}. Nothing was sent. If that is meant, say so:\n  "
        f"{shlex.join(['engager', command, str(found.path), *options, *sets])}"
    )


def _leading(job_file: JobFile) -> Mapping[str, Any]:
    endpoint = {f"endpoint.{name}": getattr(job_file.job.endpoint, name) for name in _LEADING}
    method = {"request.method": job_file.job.method.name}
    return {**endpoint, **method, job_file.job.scenario_key: job_file.job.scenario}


def _as_given(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
