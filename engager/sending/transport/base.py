"""The interface of a transport: it sends one request and returns how that ended."""

from __future__ import annotations

import asyncio
import errno
import ssl
import zlib
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from engager.config.secret import Secret
from engager.models import CLIENT_CERT, OWN_MACHINE, Ending
from engager.sending.clock import Clock

#: Bytes of a response that are read, unless it is one to many rows: those of the contract are far below a
#: kilobyte.
MAX_ANSWER = 1 << 20

#: Seconds for which a connection may rest if the server has not announced how long it waits. Common servers
#: close after two seconds or more, and whatever is sent in that moment is lost.
REST = 0.5

#: The errors of a machine, not of the endpoint, that has no resources left.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True, eq=False)
class SendBatch:
    """Attempts that are admitted and leave together, once they are stored."""

    #: The future that they wait for, not to be cancelled; it may raise. None: the end of this round of the
    #: loop.
    stored: asyncio.Future[None] | None
    #: Called once for all of them, right before they leave. False: each asks for admission again. If it
    #: raises, none of them leaves.
    may_leave: Callable[[], bool]


#: Called by the transport when the connection stands and before the first byte leaves; awaited where it must
#: wait. False: withhold the request.
Admission = Callable[[], bool | SendBatch | Awaitable[bool | SendBatch]]


async def is_admitted(admission: Admission) -> bool:
    """Ask for admission, and wait for it where that is needed."""
    while True:
        answer = admission()
        if not isinstance(answer, bool | SendBatch):
            answer = await answer
        if isinstance(answer, bool):
            return answer
        if answer.stored is not None:
            await asyncio.shield(answer.stored)
        if answer.may_leave():
            return True


#: Admitted without a batch: it leaves at the end of this round of the loop.
_THIS_ROUND: Final = SendBatch(None, lambda: True)


class Departing(Protocol):
    """A request that is admitted and leaves with others."""

    def depart(self, deadline: float) -> None:
        """Leave; at the deadline, on the running clock, the exchange is given up."""
        ...

    def recall(self, fault: BaseException | None) -> None:
        """It must not leave: it is not admitted any more, or what it waited for failed."""
        ...


class Departures:
    """Lets requests that are admitted in one round of the loop, or wait for one sync, leave together.

    One by one, each would have to be stored, and to wake the process that gets it, which costs the sender.
    """

    def __init__(self, now: Clock, timeout: float) -> None:
        self._now, self._timeout = now, timeout
        self._loop = asyncio.get_running_loop()
        self._leaving: dict[SendBatch, list[Departing]] = {}

    def add(self, admitted: SendBatch | bool, one: Departing) -> None:
        """Let a request leave with those of its batch."""
        batch = admitted if isinstance(admitted, SendBatch) else _THIS_ROUND
        together = self._leaving.get(batch)
        if together is None:
            together = self._leaving[batch] = []
            if batch.stored is None:
                self._loop.call_soon(self._depart, batch)
            else:
                batch.stored.add_done_callback(lambda _: self._depart(batch))
        together.append(one)

    def _depart(self, batch: SendBatch) -> None:
        together, deadline = self._leaving.pop(batch), self._now() + self._timeout
        fault = None if batch.stored is None else batch.stored.exception()
        may_leave = False
        try:
            may_leave = fault is None and batch.may_leave()
        except Exception as raised:
            fault = raised
        for one in together:
            if may_leave:
                one.depart(deadline)
            else:
                one.recall(fault)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, and its credentials."""

    url: str  #: without user and password
    authorization: str = field(default="", repr=False)  #: the value of Proxy-Authorization, a secret
    #: Removes that secret and its parts, which a proxy may repeat, from a text.
    redact: Callable[[str], str] = str

    @classmethod
    def at(cls, address: str) -> Proxy:
        """The proxy at an address that is known to be valid; its password becomes a secret."""
        parts = urlsplit(address)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if parts.username is None:
            return cls(url)
        password = parts.password or ""
        credentials = b64encode(unquote(f"{parts.username}:{password}").encode()).decode()
        secret = Secret(credentials, *filter(None, (password, unquote(password))))
        return cls(url, f"Basic {credentials}", secret.redact)


def load_client_cert(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    """Use a client certificate, whose key may be in the same file. Raises OSError."""
    # Without this password, an encrypted key would prompt at the terminal.
    context.load_cert_chain(cert, key, password=lambda: "")


@dataclass(frozen=True, slots=True)
class Destination:
    """The address of the endpoint, and the headers of every request."""

    url: str
    headers: Mapping[str, str]
    timeout: float  #: seconds for connecting, and again for one exchange from its first byte
    ssl: ssl.SSLContext | None = None
    proxy: Proxy | None = None  #: for a transport that can go through one
    longest_answer: int = MAX_ANSWER  #: bytes of a response that are read


class InFlight(NamedTuple):
    """The requests that left and have no response yet."""

    requests: int
    oldest_seconds: float | None  #: since the first of them left; None without one
    #: Until the last of them, and of the connections that are being made, has ended, at the latest.
    ends_within_seconds: float

    @classmethod
    def by_deadlines(
        cls, now: float, timeout: float, requests: Sequence[float], connections: Iterable[float]
    ) -> InFlight:
        """By the deadlines of requests, which left `timeout` seconds before, and of new connections."""
        oldest = round(now - min(requests) + timeout, 3) if requests else None
        within = max(0.0, max((*requests, *connections), default=now) - now)
        return cls(len(requests), oldest, round(within, 3))


class Transport(Protocol):
    """Carries requests to one endpoint. Raises nothing of its own: every ending is a value."""

    async def send(self, body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        """Send one request, once.

        Admission is asked for last, so that the rate limit holds on the wire and not before a slow handshake,
        and so that the intent is stored no earlier than needed. Requests of one `SendBatch` leave together.
        Admission may take long; a connection that was closed meanwhile is replaced, and admission is asked
        for again. What provably ends before the first byte is `NotSent`; what ends after it without a
        response is `Lost`.
        """
        ...

    @property
    def in_flight(self) -> InFlight:
        """The requests without a response yet, at this moment."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


#: The alerts of a server that accepts no client without a certificate, or not with this one (RFC 8446, 6.2).
#: It sends them before the handshake is over for it, so no request has been read.
_OF_CLIENT_CERT = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_UNKNOWN_CA",
    }
)


def is_of_client_cert(fault: BaseException | None) -> bool:
    """Whether a fault, or what caused it, is a server's refusal of a client for its certificate."""
    while fault is not None:
        if isinstance(fault, ssl.SSLError) and getattr(fault, "reason", None) in _OF_CLIENT_CERT:
            return True
        fault = fault.__cause__ or fault.__context__
    return False


def why_not_connected(fault: OSError) -> str:
    """The error of a connection that could not be made."""
    if is_of_client_cert(fault):
        return CLIENT_CERT
    if isinstance(fault, ssl.SSLCertVerificationError):
        return "tls"
    return OWN_MACHINE if fault.errno in _EXHAUSTED else "connect_failed"


def plain_body(body: bytes, encoding: str, longest: int) -> tuple[bytes, bool]:
    """Decompress a body, which was compressed without a request for it; returns also whether it is complete.

    Args:
        body: all of it, as it came.
        encoding: the value of Content-Encoding; what is not known is left as it is.
        longest: the bytes that are returned at most.

    """
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body, True
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # detects which of the two it is
    try:
        plain = reader.decompress(body, longest)
    except zlib.error:
        return body, False
    return plain, reader.eof
