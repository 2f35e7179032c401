"""A raw endpoint that records what arrives, and what senders are told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from engager.config.version import __version__
from engager.sending.clock import boot_seconds
from engager.sending.remote.messages import Ended, HandedOut, RemoteSender, Settings
from engager.sending.remote.sender import StatelessSender
from tests.wire.raw import OK, listening, read_body, request_id_of

TOKEN = "t0ken&<of>\"the'tests"


def response(status: int = 200, body: bytes = OK, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@dataclass
class Wire:
    """What arrived, and what is returned; `hold` keeps responses back until it is set."""

    respond: Callable[[str], bytes] = lambda request_id: response()
    ids: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            self.bodies.append(await read_body(head, reader))
            self.heads.append(head)
            self.ids.append(request_id_of(head))
            await self.released.wait()
            writer.write(self.respond(self.ids[-1]))

    async def arrived(self, number: int) -> None:
        """Wait for so many requests."""
        async with asyncio.timeout(20):
            while len(self.ids) < number:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(respond: Callable[[str], bytes] | None = None, hold: bool = False) -> AsyncIterator[Wire]:
    wire = Wire(respond) if respond else Wire()
    if not hold:
        wire.released.set()
    async with listening(wire.serve) as wire.port:
        yield wire


def settings_for(wire: Wire | None, /, **given: Any) -> Settings:
    """The settings of a sender without TLS."""
    settings: dict[str, Any] = {
        "version": __version__,
        "url": f"http://127.0.0.1:{wire.port if wire else 9}/start",
        "headers": {"Content-Type": "application/json"},
        "wire": "json",
        "token": None,
        "least_token": 1,
        "bearer": False,
        "timeout": 10.0,
        "longest_answer": 1 << 20,
        "transport": "lean",
        "connections": 64,
    }
    return Settings(**settings | given)


@asynccontextmanager
async def sender_to(wire: Wire | None, /, **given: Any) -> AsyncIterator[StatelessSender]:
    """A sender that has begun."""
    sender = StatelessSender()
    hello = await sender.begin(settings_for(wire, **given))
    assert not hello.fault
    try:
        yield sender
    finally:
        await sender.aclose()


def handed(number: int, *body: bytes | int, lasts: float = 30.0) -> HandedOut:
    """A request that may leave for so many seconds."""
    return HandedOut(number, body or (b"{}",), f"id-{number}", boot_seconds() + lasts)


async def ends_of(sender: RemoteSender, number: int, read: int = 0) -> dict[int, Ended]:
    """The next endings, as soon as there are so many."""
    found: dict[int, Ended] = {}
    async with asyncio.timeout(20):
        while len(found) < number:
            read, endings, _ = await sender.endings(read)
            found |= {one.number: one for one in endings}
    return found
