"""The way to an endpoint in, how far one gets on it out: name, connection, certificate."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from engager.config.job_sections import Job
from engager.endpoint.deduplication import RepeatedRequest
from engager.models import Withheld
from engager.requests.builder import RequestSpec
from engager.sending.transport.base import Admission, Destination


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

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
    """The endpoint under examination, and what it was heard to say."""

    job: Job
    destination: Destination
    spec: RequestSpec
    admission: Admission
    start: RepeatedRequest = field(default=_UNREACHED)
    listing: RepeatedRequest = field(default=_UNREACHED)

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that are connected to: the endpoint's, or the proxy's before it."""
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
            State.FAILED, seen, "look for a slip in endpoint.url, and at this machine's name server"
        )
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return Finding(State.OK, f"{host} is {', '.join(addresses)}")


async def connect(probe: Probe) -> Finding:
    """The port is open."""
    host, port = probe.address
    try:
        writer = await _opened(probe, None)
    except OSError as fault:
        advice = "look at the port in endpoint.url, and for a firewall between here and there"
        return Finding(State.FAILED, f"port {port} of {host}: {_why(probe, fault)}", advice)
    peer = writer.get_extra_info("peername") or (host,)  # nobody, where it is closed again already
    writer.transport.abort()
    return Finding(State.OK, f"{peer[0]} accepts at port {port}")


async def certify(probe: Probe) -> Finding:
    """TLS stands, and the certificate is one to trust."""
    if not probe.destination.url.startswith("https:"):
        return Finding(State.SKIPPED, "endpoint.url is http: whoever listens in between reads the token")
    if probe.destination.proxy:
        return Finding(State.SKIPPED, "a proxy stands between; what follows is sent through it, and verifies")
    try:
        writer = await _opened(probe, probe.destination.ssl)
    except ssl.SSLCertVerificationError as fault:
        return Finding(State.FAILED, fault.verify_message, _CERTIFICATE.get(fault.verify_code, _UNTRUSTED))
    except OSError as fault:
        advice = "look whether that port speaks https at all"
        return Finding(State.FAILED, f"no TLS: {_why(probe, fault)}", advice)
    tls = writer.get_extra_info("ssl_object")
    seen = f"{tls.version()}, certificate verified, valid until {tls.getpeercert()['notAfter']}"
    writer.transport.abort()
    return Finding(State.OK, seen)


_UNTRUSTED = "name the certificate of the authority that signed it in endpoint.ca_file"

#: What to do by X509_V_ERR_…, where it is not to trust the authority.
_CERTIFICATE = {
    9: "look at this machine's clock, and at the certificate's dates",
    10: "have the endpoint's certificate renewed, or look at this machine's clock",
    23: "have the endpoint's certificate renewed: this one was revoked",
    62: "write the host in endpoint.url as the certificate names it",
    64: "write the host in endpoint.url as the certificate names it",
}


async def _opened(probe: Probe, tls: ssl.SSLContext | None) -> asyncio.StreamWriter:
    async with asyncio.timeout(probe.destination.timeout):
        _, writer = await asyncio.open_connection(*probe.address, ssl=tls)
    return writer


def _why(probe: Probe, fault: Exception) -> str:
    if isinstance(fault, TimeoutError):
        return f"nothing within {probe.destination.timeout:g} s"
    if isinstance(fault, OSError) and not isinstance(fault, socket.gaierror | ssl.SSLError) and fault.errno:
        return os.strerror(fault.errno)
    return getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
