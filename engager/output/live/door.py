"""Limits on connections to the live page that have not shown the key: few at a time, and not for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiohttp import web
from aiohttp.http import HttpProcessingError

#: Maximum number of connections; a browser opens up to six.
MOST_CONNECTIONS = 64

#: Seconds within which a connection must send a request that is admitted.
PATIENCE = 5.0


class _Refusal(asyncio.Protocol):
    """Ends a connection as soon as it is open."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


class Door:
    """Creates the protocols of connections, and ends those that are not admitted in time."""

    def __init__(self, connections: Callable[[], int], make: Callable[[], web.RequestHandler]) -> None:
        """`connections` returns how many are open; `make` creates a protocol."""
        self._connections, self._make = connections, make
        self._strangers: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}

    def __call__(self) -> asyncio.BaseProtocol:
        """The protocol of a new connection."""
        if self._connections() >= MOST_CONNECTIONS:
            return _Refusal()
        handler = self._make()
        timer = asyncio.get_running_loop().call_later(PATIENCE, self._show_out, handler)
        self._strangers[handler] = timer
        return handler

    def admit(self, request: web.Request) -> None:
        """Let the connection of this request stay."""
        timer = self._strangers.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()

    def _show_out(self, handler: web.RequestHandler) -> None:
        del self._strangers[handler]
        if handler.transport is not None:
            handler.transport.abort()


class NoBadRequests(logging.Filter):
    """Drops records about malformed requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is not about a malformed request."""
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
