"""Access to the endpoint of a job: token, headers, TLS, proxy and transport."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engager.altcraft.batch_bodies import longest_response
from engager.altcraft.methods import API
from engager.config.job import JobFile
from engager.config.job_sections import SANDBOX, SANDBOX_TOKEN, Job, proxy_address
from engager.config.secret import Secret, read_secret
from engager.config.version import __version__
from engager.endpoint import senders
from engager.endpoint.deduplication import refuse_without_deduplication
from engager.errors import JobError
from engager.policies.delivery import Mode
from engager.requests.builder import RequestSpec
from engager.requests.template import Reading
from engager.sending.limits import Limits
from engager.sending.remote.messages import TOKEN_PLACE
from engager.sending.stop import Stop
from engager.sending.transport.base import MAX_ANSWER, Destination, Proxy, Transport, load_client_cert
from engager.sending.transport.choice import transport_to

#: Minimum number of characters of a token, except for an endpoint on this machine.
LEAST_TOKEN = 8

#: The token for the embedded sandbox if the job has none.
_SANDBOX = Secret(SANDBOX_TOKEN)


def token_of(job_file: JobFile) -> Secret:
    """The token of the job. Raises JobError."""
    reference = job_file.job.endpoint.token
    if reference is None:
        return _SANDBOX
    try:
        return read_secret(reference, job_file.base, least=least_token(job_file.job))
    except JobError as fault:
        key = "endpoint.token"
        raise type(fault)(job_file.at(key, str(fault).removeprefix(f"{key}: "))) from fault.__cause__


def least_token(job: Job) -> int:
    """The least number of characters of a token.

    A short text occurs in many others: masking it would spoil files and messages.
    """
    return 1 if job.endpoint.is_here else LEAST_TOKEN


def token_in_body(job: Job, secret: Secret) -> str:
    """What stands for the token in the body of a request: senders in other processes put the token there."""
    return TOKEN_PLACE if job.is_remote else secret.reveal()


def headers_of(job: Job, token: str) -> dict[str, str]:
    """The headers of every request, except the Request-ID."""
    headers = {
        "Content-Type": f"application/{job.endpoint.format}; charset=utf-8",
        "User-Agent": f"engager/{__version__}",
    }
    if job.endpoint.auth == "bearer":
        headers["Authorization"] = f"Bearer {token}"
    return headers


def tls_of(job_file: JobFile) -> ssl.SSLContext | None:
    """The TLS context, which always verifies. Raises JobError.

    None if the job uses no TLS, because loading the certificates of the system takes memory.
    """
    endpoint, base = job_file.job.endpoint, job_file.base
    if not (endpoint.url.startswith("https:") or endpoint.ca_file or endpoint.client_cert):
        return None
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file and str(base / endpoint.ca_file))
    except (OSError, ssl.SSLError) as fault:
        text = f"{endpoint.ca_file} cannot be used: {fault}"
        raise JobError(job_file.at("endpoint.ca_file", text)) from fault
    if endpoint.client_cert is not None:
        key = endpoint.client_key and str(base / endpoint.client_key)
        try:
            load_client_cert(context, str(base / endpoint.client_cert), key)
        except (OSError, ssl.SSLError) as fault:
            text = f"{endpoint.client_cert} cannot be used: {fault}"
            raise JobError(job_file.at("endpoint.client_cert", text)) from fault
    return context


def spec_of(job_file: JobFile, token: str) -> RequestSpec:
    """What the job says of its requests."""
    endpoint, given = job_file.job.endpoint, job_file.job.input
    return RequestSpec(
        parameters=job_file.job.request,
        base=job_file.base,
        token=token,
        auth=endpoint.auth,
        wire=endpoint.format,
        answer=endpoint.answer or endpoint.format,
        further_matching=endpoint.further_matching,
        reading=Reading(frozenset(given.empty), given.decimal),
        region=given.region,
        filter=given.filter,
        batch_bytes=job_file.job.batch.bytes,
        content_by_row=job_file.job.batch.content_by_row,
    )


def url_of(job: Job, origin: str) -> str:
    """The address of the method of the job at an endpoint."""
    return f"{origin}{API}{job.method.path}"


@asynccontextmanager
async def origin_of(job: Job) -> AsyncIterator[str]:
    """The address of the endpoint; the embedded sandbox runs while this is entered."""
    if job.endpoint.url != SANDBOX:
        yield job.endpoint.url
        return
    from engager.sandbox import Sandbox, SandboxConfig  # aiohttp's server costs time and memory

    try:
        config = SandboxConfig.from_mapping(job.sandbox)
    except ValueError as fault:
        raise JobError(f"sandbox: {fault}") from fault
    async with Sandbox(config) as sandbox:
        yield sandbox.url


def proxy_of(job_file: JobFile) -> Proxy | None:
    """The proxy of the job; its password is a secret. Raises JobError."""
    key, given = "endpoint.proxy", job_file.job.endpoint.proxy
    if given is None:
        return None
    if "://" not in given:
        try:
            given = read_secret(given, job_file.base, key, "address of a proxy").reveal()
        except JobError as fault:
            raise JobError(job_file.at(key, str(fault).removeprefix(f"{key}: "))) from fault.__cause__
    try:
        return Proxy.at(proxy_address(given))
    except ValueError as fault:
        raise JobError(job_file.at(key, str(fault))) from None


def destination_of(job_file: JobFile, secret: Secret, origin: str) -> Destination:
    """The destination of the requests of the job. Raises JobError."""
    endpoint = job_file.job.endpoint
    headers = headers_of(job_file.job, secret.reveal())
    url = url_of(job_file.job, origin)
    return Destination(
        url,
        headers,
        endpoint.timeout,
        tls_of(job_file),
        proxy_of(job_file),
        max(MAX_ANSWER, longest_response(job_file.job.rows_per_request)),
    )


@asynccontextmanager
async def origin_probed(job_file: JobFile, secret: Secret, stop: Stop) -> AsyncIterator[str]:
    """The address of the endpoint, after the test of deduplication if the job requests it."""
    job = job_file.job
    async with origin_of(job) as origin:
        if job.delivery.probe and job.delivery.mode is Mode.EXACTLY_ONCE:
            destination = destination_of(job_file, secret, origin)
            await refuse_without_deduplication(
                destination, spec_of(job_file, secret.reveal()), job.pace, stop
            )
        yield origin


@asynccontextmanager
async def connected(job_file: JobFile, secret: Secret, limits: Limits) -> AsyncIterator[Transport]:
    """A transport to the endpoint of the job."""
    job = job_file.job
    async with origin_probed(job_file, secret, limits.stop) as origin:
        destination = destination_of(job_file, secret, origin)
        if job.is_remote:
            async with senders.connected(job_file, destination, limits, least_token(job)) as remote:
                yield remote
            return
        transport = transport_to(destination, job.limits.max_in_flight, job.endpoint.transport)
        try:
            yield transport
        finally:
            await transport.aclose()
