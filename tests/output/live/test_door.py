"""A server lets in few strangers, and none for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from engager.output.live import door
from engager.output.live.door import MOST_CONNECTIONS, Door, NoBadRequests

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n%b\r\n"


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """A server that trusts every request with the key; yields its port."""

    async def answer(request: web.Request) -> web.Response:
        if "Known" in request.headers:
            entrance.admit(request)
        return web.Response(text="here")

    application = web.Application()
    application.add_routes([web.get("/", answer)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    server = runner.server
    assert server is not None
    entrance = Door(lambda: len(server.connections), server)
    listening = await asyncio.get_running_loop().create_server(entrance, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await runner.cleanup()


Connected = Callable[[int, bytes | None], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture
async def connected() -> AsyncIterator[Connected]:
    writers: list[asyncio.StreamWriter] = []

    async def connect(port: int, head: bytes | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        if head is not None:
            writer.write(REQUEST % head)
            assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        return reader, writer

    yield connect
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def is_ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("head", [None, b""], ids=["silent", "unknown"])
async def test_who_is_not_admitted_is_shown_out(
    connected: Connected, monkeypatch: pytest.MonkeyPatch, head: bytes | None
) -> None:
    monkeypatch.setattr(door, "PATIENCE", 0.1)
    async with served() as port, asyncio.timeout(10):
        stranger, _ = await connected(port, head)
        known, writer = await connected(port, b"Known: yes\r\n")
        assert await is_ended(stranger)
        writer.write(REQUEST % b"")
        assert await known.readuntil(b"here")


async def test_there_are_never_more_than_so_many(connected: Connected) -> None:
    async with served() as port, asyncio.timeout(10):
        inside = [await connected(port, b"") for _ in range(MOST_CONNECTIONS)]
        outside, _ = await connected(port, None)
        assert await is_ended(outside)
        reader, writer = inside[0]
        writer.write(REQUEST % b"")
        assert await reader.readuntil(b"here")


async def test_a_broken_request_is_no_error_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tests.door")
    logger.addFilter(NoBadRequests())
    runner = web.AppRunner(web.Application(), access_log=None, logger=logger)
    await runner.setup()
    assert runner.server is not None
    listening = await asyncio.get_running_loop().create_server(runner.server, "127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nbroken\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
    finally:
        listening.close()
        await runner.cleanup()
    assert caplog.records == []
