"""The remote senders of a job: their number, their places and their settings."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engager.config.job import JobFile
from engager.config.job_sections import AUTO, Job
from engager.config.version import __version__
from engager.errors import JobError
from engager.sending.limits import Limits
from engager.sending.remote.messages import Settings
from engager.sending.remote.process import Processes
from engager.sending.remote.transport import Demand, RemoteTransport, Roster, remote_transport
from engager.sending.transport.base import Destination

if TYPE_CHECKING:
    from engager.sending.remote.cluster import Cluster

_CERTIFICATE: Final = re.compile(
    "-----BEGIN [A-Z ]*CERTIFICATE-----.*?-----END [A-Z ]*CERTIFICATE-----", re.S
)

#: The processors that a control group may use: microseconds of them in a period of microseconds.
QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


@asynccontextmanager
async def connected(
    job_file: JobFile, destination: Destination, limits: Limits, least_token: int
) -> AsyncIterator[RemoteTransport]:
    """A transport over the senders of a job. Raises JobError where the cluster cannot be used."""
    job = job_file.job
    settings = settings_of(job_file, destination, least_token)
    roster: Roster
    if job.cluster.scheduler is None:
        number = processes_of(job)
        roster, demand = Processes(number), Demand(number)
    else:
        roster, demand = cluster_of(job_file), Demand(job.cluster.at_least, job.cluster.patience)
    async with remote_transport(settings, limits, demand, roster) as transport:
        yield transport


def settings_of(job_file: JobFile, destination: Destination, least_token: int) -> Settings:
    """The settings of a sender: paths are absolute, and secrets are named by where they are."""
    job, base = job_file.job, job_file.base
    endpoint = job.endpoint
    headers = {name: value for name, value in destination.headers.items() if name != "Authorization"}
    cert, key = endpoint.client_cert, endpoint.client_key
    return Settings(
        version=__version__,
        url=destination.url,
        headers=headers,
        wire=endpoint.format,
        token=_anywhere(endpoint.token, base),
        least_token=least_token,
        bearer=endpoint.auth == "bearer",
        timeout=destination.timeout,
        longest_answer=destination.longest_answer,
        transport=endpoint.transport,
        connections=job.limits.max_in_flight,
        tls=destination.ssl is not None,
        authorities=_authorities(job_file),
        client_cert=cert and str(base / cert),
        client_key=key and str(base / key),
        proxy=_anywhere(endpoint.proxy, base),
    )


def _anywhere(reference: str | None, base: Path) -> str | None:
    """A reference to a secret that does not depend on the folder of the job."""
    if reference is None or not reference.startswith("file:"):
        return reference
    return f"file:{base / reference.removeprefix('file:')}"


def _authorities(job_file: JobFile) -> str | None:
    """The certificates of `endpoint.ca_file`; whether they can be used was tested before."""
    name = job_file.job.endpoint.ca_file
    if name is None:
        return None
    text = (job_file.base / name).read_text(encoding="latin-1")
    return "\n".join(found[0] for found in _CERTIFICATE.finditer(text))


def warnings_of(job_file: JobFile) -> Iterator[str]:
    """Settings of the senders that are valid but may be a mistake."""
    job = job_file.job
    endpoint, number = job.endpoint, processes_of(job)
    if number > processors():
        text = f"{number} processes on {processors()} processors are slower than fewer of them"
        yield job_file.at("limits.processes", text)
    if job.cluster.scheduler is None:
        return
    secrets = {"token": endpoint.token, "proxy": endpoint.proxy}
    files = {key: given[5:] for key, given in secrets.items() if given and given.startswith("file:")}
    files |= {key: given for key in ("client_cert", "client_key") if (given := getattr(endpoint, key))}
    for key, file in files.items():
        text = f"each worker of the cluster reads {job_file.base / file} on its own machine"
        yield job_file.at(f"endpoint.{key}", text)


def processes_of(job: Job) -> int:
    """The number of processes that send, besides the run itself."""
    given = job.limits.processes
    return given if given != AUTO else max(1, processors() - 1)


def processors() -> int:
    """The processors that this process may use, by its affinity and the quota of its control group."""
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        most, period = QUOTA.read_text().split()
        return max(1, min(processors, int(most) // int(period)))
    except (OSError, ValueError):  # no quota
        return processors


def cluster_of(job_file: JobFile) -> Cluster:
    """The workers of the job's cluster. Raises JobError where Dask is missing, or a file of the job."""
    section, base = job_file.job.cluster, job_file.base
    files = {name: getattr(section, name) for name in ("ca_file", "cert", "key")}
    for name, file in files.items():
        if file is not None and not (base / file).is_file():
            raise JobError(job_file.at(f"cluster.{name}", f"there is no file {base / file}"))
    try:
        # Loaded where it is used: it costs 40 MB.
        from engager.sending.remote.cluster import Cluster
    except ImportError as fault:
        text = f"a cluster needs more packages: pip install 'engager[cluster]' ({fault})"
        raise JobError(job_file.at("cluster.scheduler", text)) from fault
    paths = [file and str(base / file) for file in files.values()]
    return Cluster(str(section.scheduler), *paths)
