"""A job in, the way to its endpoint out: the token, what every request carries, TLS, and the transport."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from engager import __version__
from engager.dispatch.http1.transport import LeanTransport
from engager.dispatch.transport import Destination, Transport
from engager.errors import JobError
from engager.job import SANDBOX, Job, JobFile
from engager.secret import Secret, read_secret

METHOD = "/api/v1.1/workflows/start"

#: What the embedded sandbox is given when the job names no token.
SANDBOX_TOKEN = Secret("sandbox-token")


def token_of(job_file: JobFile) -> Secret:
    """The token that the job refers to. Raises JobError."""
    reference = job_file.job.endpoint.token
    if reference is None:
        return SANDBOX_TOKEN
    try:
        return read_secret(reference, job_file.base)
    except JobError as fault:
        key = "endpoint.token"
        raise JobError(job_file.at(key, str(fault).removeprefix(f"{key}: "))) from fault.__cause__


def headers_of(job: Job, token: str) -> dict[str, str]:
    """What every request carries in its head, but for the Request-ID."""
    headers = {
        "Content-Type": f"application/{job.endpoint.format}; charset=utf-8",
        "User-Agent": f"engager/{__version__}",
    }
    if job.endpoint.auth == "bearer":
        headers["Authorization"] = f"Bearer {token}"
    return headers


def tls_of(job_file: JobFile) -> ssl.SSLContext:
    """What TLS trusts and how we show who we are; it always verifies. Raises JobError."""
    endpoint, base = job_file.job.endpoint, job_file.base
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file and str(base / endpoint.ca_file))
    except (OSError, ssl.SSLError) as fault:
        told = f"{endpoint.ca_file} cannot be used: {fault}"
        raise JobError(job_file.at("endpoint.ca_file", told)) from fault
    if endpoint.client_cert is not None:
        key = endpoint.client_key and str(base / endpoint.client_key)
        try:
            # Without a password of its own, an encrypted key would ask at the terminal.
            context.load_cert_chain(str(base / endpoint.client_cert), key, password=lambda: "")
        except (OSError, ssl.SSLError) as fault:
            told = f"{endpoint.client_cert} cannot be used: {fault}"
            raise JobError(job_file.at("endpoint.client_cert", told)) from fault
    return context


@asynccontextmanager
async def connected(job_file: JobFile, secret: Secret) -> AsyncIterator[Transport]:
    """A transport to the job's endpoint; with `url = "sandbox"`, to one that lives as long."""
    job = job_file.job
    async with AsyncExitStack() as stack:
        origin = job.endpoint.url
        if origin == SANDBOX:
            origin = await stack.enter_async_context(_sandbox(job))
        destination = Destination(
            origin + METHOD,
            headers_of(job, secret.reveal()),
            job.endpoint.timeout,
            tls_of(job_file),
            job.endpoint.proxy,
        )
        transport = _transport(job, destination)
        stack.push_async_callback(transport.aclose)
        yield transport


def _transport(job: Job, destination: Destination) -> Transport:
    lean = job.endpoint.proxy is None
    if job.endpoint.transport == "lean" or (job.endpoint.transport == "auto" and lean):
        return LeanTransport(destination)
    # Loaded where it is used: it costs every run 20 MB and a fifth of a second.
    from engager.dispatch.aiohttp_transport import AiohttpTransport

    return AiohttpTransport(destination, job.limits.concurrency)


@asynccontextmanager
async def _sandbox(job: Job) -> AsyncIterator[str]:
    from engager.sandbox import Sandbox, SandboxConfig  # aiohttp, as above

    try:
        config = SandboxConfig.from_mapping(job.sandbox)
    except ValueError as fault:
        raise JobError(f"sandbox: {fault}") from fault
    async with Sandbox(config) as sandbox:
        yield sandbox.url
