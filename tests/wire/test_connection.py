"""A connection: when its request leaves, and how its attempt ends if it breaks."""

from __future__ import annotations

import asyncio
import socket
import struct
from functools import partial
from math import inf

import anyio
import pytest

from engager.models import Ending, Lost, NotSent, Reply
from engager.sending.clock import Clock
from engager.sending.transport.base import Destination
from engager.sending.transport.http1.connection import Connection
from engager.sending.transport.http1.known import KnownAnswers
from engager.sending.transport.http1.transport import LeanTransport

REQUEST = (b"POST / HTTP/1.1\r\n\r\n",)
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def connection_pair(clock: Clock = lambda: 0.0) -> tuple[Connection, socket.socket]:
    """A connection, and the server's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sock = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    sock.setblocking(False)
    theirs.settimeout(10)
    return Connection(sock, None, asyncio.get_running_loop(), KnownAnswers(), clock), theirs


async def test_a_reset_within_a_response_ends_the_attempt_at_once() -> None:
    connection, theirs = connection_pair()
    waiter = connection.begin(REQUEST)
    connection.depart(deadline=inf)
    theirs.recv(100)
    theirs.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    async with asyncio.timeout(10):
        ending = await waiter
    connection.finish(now=0.0)
    assert isinstance(ending, Lost) or (isinstance(ending, Reply) and not ending.complete)
    assert connection.closed


async def ending_before_departure(data: bytes, rested: float) -> Ending | None:
    """The ending of a request if its server sends `data`, and closes, before the request leaves."""
    connection, theirs = connection_pair(iter((0.0, rested)).__next__)
    waiter = connection.begin(REQUEST)
    theirs.sendall(data)
    theirs.shutdown(socket.SHUT_WR)
    with anyio.fail_after(10):
        ending = await waiter
    connection.depart(deadline=inf)
    connection.finish(now=0.0)
    assert connection.closed
    assert theirs.recv(100) == b""  # the request did not leave
    theirs.close()
    return ending


async def test_bytes_before_a_request_are_not_its_response() -> None:
    assert isinstance(await ending_before_departure(RESPONSE, rested=60), NotSent)


async def test_the_close_of_an_idle_connection_recalls_its_request() -> None:
    assert await ending_before_departure(b"", rested=60) is None


async def test_an_immediate_close_uses_up_an_attempt() -> None:
    assert isinstance(await ending_before_departure(b"", rested=0), NotSent)


async def test_an_idle_connection_is_read_before_it_is_used() -> None:
    """The loop may not have reported yet what the server did in the meantime."""
    connection, theirs = connection_pair()
    theirs.close()
    assert connection.stands(now=0.01)
    assert not connection.stands(now=0.05)


async def test_a_request_leaves_only_by_depart() -> None:
    connection, theirs = connection_pair()
    connection.begin(REQUEST)
    connection._writable()  # as after bytes of TLS itself were sent
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(100)
    connection.depart(deadline=inf)
    theirs.setblocking(True)
    assert theirs.recv(100) == REQUEST[0]
    connection.close()
    theirs.close()


async def test_a_request_of_a_cancelled_attempt_never_leaves() -> None:
    connection, theirs = connection_pair()
    connection.begin(REQUEST)
    connection.finish(now=0.0)
    connection.depart(deadline=inf)
    assert connection.closed
    assert theirs.recv(100) == b""
    theirs.close()


async def test_requests_of_one_round_of_the_loop_leave_together() -> None:
    left: list[str] = []
    transport = LeanTransport(Destination("http://127.0.0.1:1/", {}, 5))
    pairs = [connection_pair(asyncio.get_running_loop().time) for _ in range(2)]
    transport._idle = [connection for connection, _ in pairs]

    def admit(name: str) -> bool:
        left.append(name)
        for _, theirs in pairs:
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(100)
        return True

    sending = [
        asyncio.create_task(transport.send((b"{}",), name, partial(admit, name))) for name in ("a", "b")
    ]
    with anyio.fail_after(10):
        while len(left) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    for _, theirs in pairs:
        assert theirs.recv(1000).startswith(b"POST")
        theirs.close()
    await asyncio.gather(*sending)
    await transport.aclose()
