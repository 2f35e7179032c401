"""Tests of name resolution, connection and certificate."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from engager.config.job_sections import SANDBOX, Job
from engager.endpoint.deduplication import RepeatedRequest
from engager.models import Withheld
from engager.requests.builder import RequestSpec
from engager.sending.transport.base import Admission, Destination


class State(StrEnum):
    """The result of a check."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The finding of a check."""

    state: State
    seen: str
    advice: str = ""  #: what to do
    check: str = ""

    def __str__(self) -> str:
        advice = f" -> {self.advice}" if self.advice else ""
        return f"{self.check:<13} {self.state:<7} {self.seen}{advice}"


_UNREACHED = RepeatedRequest(Withheld(), Withheld())


@dataclass(slots=True)
class Probe:
    """The tested endpoint and its responses."""

    job: Job
    destination: Destination
    spec: RequestSpec
    admission: Admission
    start: RepeatedRequest = field(default=_UNREACHED)
    listing: RepeatedRequest = field(default=_UNREACHED)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the proxy, or of the endpoint without one."""
        proxy = self.destination.proxy
        parts = urlsplit(proxy.url if proxy else self.destination.url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


async def resolve(probe: Probe) -> Finding:
    """The host has an address."""
    host, port = probe.address
    try:
        async with asyncio.timeout(probe.destination.timeout):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as fault:
        seen = f"{host} cannot be resolved: {_why(probe, fault)}"
        return Finding(
            State.FAILED, seen, "check the spelling of endpoint.url, and the name server of this machine"
        )
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return Finding(State.OK, f"{host} is {', '.join(addresses)}")


async def connect(probe: Probe) -> Finding:
    """The port is open."""
    host, port = probe.address
    try:
        writer = await _opened(probe, None)
    except OSError as fault:
        advice = "check the port in endpoint.url, and firewalls on the way"
        return Finding(State.FAILED, f"port {port} of {host}: {_why(probe, fault)}", advice)
    peer = writer.get_extra_info("peername") or (host,)  # None if the connection is closed already
    writer.transport.abort()
    return Finding(State.OK, f"{peer[0]} accepts connections at port {port}")


async def certify(probe: Probe) -> Finding:
    """TLS works, and the certificate is trusted."""
    if probe.job.endpoint.url == SANDBOX:
        return Finding(State.SKIPPED, "the embedded sandbox uses no TLS")
    if not probe.destination.url.startswith("https:"):
        return Finding(State.SKIPPED, "endpoint.url is http: the network can read the token")
    if probe.destination.proxy:
        return Finding(
            State.SKIPPED, "a proxy is used; the next checks go through it and verify the certificate"
        )
    try:
        writer = await _opened(probe, probe.destination.ssl)
    except ssl.SSLCertVerificationError as fault:
        return Finding(State.FAILED, fault.verify_message, _CERTIFICATE.get(fault.verify_code, _UNTRUSTED))
    except OSError as fault:
        advice = "verify that this port serves https"
        return Finding(State.FAILED, f"TLS failed: {_why(probe, fault)}", advice)
    tls = writer.get_extra_info("ssl_object")
    seen = f"{tls.version()}, certificate verified, valid until {tls.getpeercert()['notAfter']}"
    writer.transport.abort()
    return Finding(State.OK, seen)


_UNTRUSTED = "set endpoint.ca_file to the certificate of the authority that signed it"

#: What to do by X509_V_ERR_…, if the authority is trusted.
_CERTIFICATE = {
    9: "check the clock of this machine, and the dates of the certificate",
    10: "have the certificate of the endpoint renewed, or correct the clock of this machine",
    23: "have the certificate of the endpoint renewed: it was revoked",
    62: "use the host name of the certificate in endpoint.url",
    64: "use the host name of the certificate in endpoint.url",
}


async def _opened(probe: Probe, tls: ssl.SSLContext | None) -> asyncio.StreamWriter:
    async with asyncio.timeout(probe.destination.timeout):
        _, writer = await asyncio.open_connection(*probe.address, ssl=tls)
    return writer


def _why(probe: Probe, fault: Exception) -> str:
    if isinstance(fault, TimeoutError):
        return f"no response within {probe.destination.timeout:g} s"
    if isinstance(fault, OSError) and not isinstance(fault, socket.gaierror | ssl.SSLError) and fault.errno:
        return os.strerror(fault.errno)
    return getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
