"""The address to which a connection is made when a host moves."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from engager.sending.transport.http1.dialing import Dialer


class NameServer:
    """Resolves the only name to its port, or fails while it has none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.port: int | None = None
        self.lookups = 0
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.look_up)

    async def look_up(self, host: str, port: int, **settings: Any) -> list[Any]:
        self.lookups += 1
        if self.port is None:
            raise socket.gaierror(socket.EAI_AGAIN, "the name server is away")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", self.port))]


async def dial(dialer: Dialer) -> None:
    sock, _ = await dialer.dial()
    sock.close()


async def test_an_address_that_refused_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    name_server = NameServer(monkeypatch)
    dialer = Dialer("a.example", 80, None)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        name_server.port = closed.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await dial(dialer)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        name_server.port = listening.getsockname()[1]
        await dial(dialer)
        await dial(dialer)
    assert name_server.lookups == 2


async def test_the_last_address_is_used_while_the_name_server_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name_server = NameServer(monkeypatch)
    dialer = Dialer("a.example", 80, None)
    with pytest.raises(socket.gaierror):
        await dial(dialer)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        name_server.port = port = listening.getsockname()[1]
        await dial(dialer)
    with pytest.raises(ConnectionRefusedError):
        await dial(dialer)
    name_server.port = None
    with socket.create_server(("127.0.0.1", port)):
        await dial(dialer)
    assert name_server.lookups == 3
