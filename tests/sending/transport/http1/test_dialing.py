"""Which address a connection is made to, when names and hosts move."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from engager.sending.transport.http1.dialing import Dialer


class Names:
    """A name server: the address of the only name, or nothing while it is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.port: int | None = None
        self.asked = 0
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.look_up)

    async def look_up(self, host: str, port: int, **settings: Any) -> list[Any]:
        self.asked += 1
        if self.port is None:
            raise socket.gaierror(socket.EAI_AGAIN, "the name server is away")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", self.port))]


async def dial(dialer: Dialer) -> None:
    sock, _ = await dialer.dial()
    sock.close()


async def test_an_address_that_refused_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    dialer = Dialer("a.example", 80, None)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        names.port = closed.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await dial(dialer)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        names.port = listening.getsockname()[1]
        await dial(dialer)
        await dial(dialer)
    assert names.asked == 2


async def test_while_the_name_server_is_away_the_last_address_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names(monkeypatch)
    dialer = Dialer("a.example", 80, None)
    with pytest.raises(socket.gaierror):
        await dial(dialer)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        names.port = port = listening.getsockname()[1]
        await dial(dialer)
    with pytest.raises(ConnectionRefusedError):
        await dial(dialer)
    names.port = None
    with socket.create_server(("127.0.0.1", port)):
        await dial(dialer)
    assert names.asked == 3
