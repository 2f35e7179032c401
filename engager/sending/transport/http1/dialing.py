"""Makes connections to an origin: name look-up, several addresses, IPv6, and TLS that always verifies."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiohappyeyeballs import start_connection

from engager.sending.transport.http1.connection import BLOCK
from engager.sending.transport.http1.tls import Tls

AddressInfo = tuple[int, int, int, str, Any]

#: Seconds for which a looked-up name is valid.
_NAME_LIFE = 30.0

#: Seconds until the next address is tried besides one that does not respond (RFC 8305).
_HEAD_START = 0.25

#: Seconds to wait for a name server while the last addresses are known.
_PATIENCE = 1.0


class Dialer:
    """Makes connections to one host and port."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._host, self._port, self._context = host, port, context
        self._addresses: Sequence[AddressInfo] = ()
        self._looked_up = float("-inf")
        self._looking_up = asyncio.Lock()

    async def dial(self) -> tuple[socket.socket, Tls | None]:
        """A connected socket that does not block, and its TLS. Raises OSError, also for faults of TLS."""
        loop = asyncio.get_running_loop()
        addresses = await self._resolved(loop)
        try:
            sock = await start_connection(addresses, happy_eyeballs_delay=_HEAD_START, loop=loop)
        except BaseException:  # also when it is cancelled, since it took too long
            self._looked_up = float("-inf")  # the name may have another address by now
            raise
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is None:
                return sock, None
            tls = Tls(self._context, self._host)
            await _handshake(sock, tls, loop)
        except BaseException:
            sock.close()
            raise
        return sock, tls

    async def _resolved(self, loop: asyncio.AbstractEventLoop) -> Sequence[AddressInfo]:
        """The host's addresses; workers that start at once look them up once.

        While the name server is away, the last ones are used: no attempt is spent on that.
        """
        async with self._looking_up:
            if loop.time() - self._looked_up > _NAME_LIFE:
                try:
                    async with asyncio.timeout(_PATIENCE if self._addresses else None):
                        self._addresses = await loop.getaddrinfo(
                            self._host, self._port, type=socket.SOCK_STREAM
                        )
                except OSError:
                    if not self._addresses:
                        raise
                self._looked_up = loop.time()
        return self._addresses


async def _handshake(sock: socket.socket, tls: Tls, loop: asyncio.AbstractEventLoop) -> None:
    try:
        while not tls.continue_handshake():
            await loop.sock_sendall(sock, tls.read_outgoing())
            tls.feed(await loop.sock_recv(sock, BLOCK))
    except ssl.SSLError:
        with suppress(OSError):
            sock.send(tls.read_outgoing())  # the server gets the reason
        raise
    await loop.sock_sendall(sock, tls.read_outgoing())
