"""What a transport is: one request out, one ending back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from engager.model import Ending

#: Awaited by the transport at the last moment, when the connection stands and before the first byte
#: leaves. False: hold it back.
Clearance = Callable[[], Awaitable[bool]]


class Transport(Protocol):
    """Carries requests to one endpoint. Raises nothing of its own: every ending is a value."""

    async def send(self, body: tuple[bytes, ...], request_id: str, clearance: Clearance) -> Ending:
        """Send one request, once.

        `clearance` is awaited right before the first byte leaves, so that the pace is kept on the
        wire and not before a slow handshake, and so that the intent is written down no earlier than
        needed. It may wait long; a connection that died meanwhile is replaced, and clearance asked
        again. What ends before a clearance is `NotSent`, what ends after it without an answer `Lost`.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
