"""Who is let in to the page's server before showing a key: few at a time, and not for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiohttp import web
from aiohttp.http import HttpProcessingError

#: Connections at a time; a browser opens up to six.
MOST_CONNECTIONS = 64

#: Seconds in which a connection must have made a request that is admitted.
PATIENCE = 5.0


class _Refusal(asyncio.Protocol):
    """Ends a connection as soon as it stands."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


class Door:
    """Makes the protocols of a server's connections, and ends those that nobody admits."""

    def __init__(self, connections: Callable[[], int], make: Callable[[], web.RequestHandler]) -> None:
        """`connections`: how many there are; `make`: a protocol for another one."""
        self._connections, self._make = connections, make
        self._strangers: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}

    def __call__(self) -> asyncio.BaseProtocol:
        """A protocol for a connection that is about to be made."""
        if self._connections() >= MOST_CONNECTIONS:
            return _Refusal()
        handler = self._make()
        timer = asyncio.get_running_loop().call_later(PATIENCE, self._show_out, handler)
        self._strangers[handler] = timer
        return handler

    def admit(self, request: web.Request) -> None:
        """The connection of this request may stay."""
        timer = self._strangers.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()

    def _show_out(self, handler: web.RequestHandler) -> None:
        del self._strangers[handler]
        if handler.transport is not None:
            handler.transport.abort()


class NoBadRequests(logging.Filter):
    """Leaves out what is only somebody's broken request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is about the server itself."""
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
