"""What a transport is: one request out, one ending back."""

from __future__ import annotations

import asyncio
import errno
import ssl
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from engager.models import OWN_MACHINE, Ending

#: Longer answers are not read to their end: the contract's own are far below a kilobyte.
MAX_ANSWER = 1 << 20

#: What a system says when it, and not the endpoint, has nothing left.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True, eq=False)
class SendBatch:
    """Cleared, but for what is done once for many tries that leave together."""

    #: What they wait for, not to be cancelled; it raises what went wrong. None: this round of the loop.
    stored: asyncio.Future[None] | None
    #: Asked once then, right before they leave: where it says no, clearance is to be asked for again; and
    #: where it raises, none of them leaves.
    may_leave: Callable[[], bool]


#: Asked by the transport when the connection stands, and before the first byte leaves; awaited where the
#: answer is not there at once. False: hold it back.
Admission = Callable[[], bool | SendBatch | Awaitable[bool | SendBatch]]


async def is_admitted(admission: Admission) -> bool:
    """Ask for clearance, and wait for it where need be."""
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


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, and what it alone is told."""

    url: str  #: without user and password
    authorization: str = field(default="", repr=False)  #: the value of Proxy-Authorization, a secret
    #: A text without that secret and its parts, which a proxy may repeat.
    redact: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class Destination:
    """Where requests go and what each carries."""

    url: str
    headers: Mapping[str, str]
    timeout: float  #: seconds for connecting, and again for one exchange from its first byte
    ssl: ssl.SSLContext | None = None
    proxy: Proxy | None = None  #: for a transport that can go through one


class Transport(Protocol):
    """Carries requests to one endpoint. Raises nothing of its own: every ending is a value."""

    async def send(self, body: tuple[bytes, ...], request_id: str, admission: Admission) -> Ending:
        """Send one request, once.

        `clearance` is asked for when nothing but it is missing, so that the pace is kept on the wire and
        not before a slow handshake, and so that the intent is written down no earlier than needed.
        Requests that are cleared together may leave together, at the end of the round of the loop, or
        once what they are `SendBatch` for is done. It may wait long; a connection that died meanwhile is
        replaced, and clearance asked again. What provably ends before the first byte is `NotSent`, what
        ends after it without an answer `Lost`.
        """
        ...

    @property
    def in_flight(self) -> int:
        """Requests without an answer yet; those that wait to leave are left out where that can be told."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


def why_not_connected(fault: OSError) -> str:
    """The word for a connection that could not be made."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return "tls"
    return OWN_MACHINE if fault.errno in _EXHAUSTED else "connect_failed"


def plain_body(body: bytes, encoding: str) -> tuple[bytes, bool]:
    """A body that was compressed although nobody asked for that, and whether it is whole.

    Args:
        body: all of it, as it came.
        encoding: the value of Content-Encoding; what is not known is left as it is.

    Returns:
        At most `MAX_ANSWER` bytes.

    """
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body, True
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # looks itself which of the two it is
    try:
        plain = reader.decompress(body, MAX_ANSWER)
    except zlib.error:
        return body, False
    return plain, reader.eof
