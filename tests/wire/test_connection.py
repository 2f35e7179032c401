"""A connection that breaks, as the loop tells of it."""

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
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def connected(clock: Clock = lambda: 0.0) -> tuple[Connection, socket.socket]:
    """A connection, and the server's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sock = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    sock.setblocking(False)
    theirs.settimeout(10)
    return Connection(sock, None, asyncio.get_running_loop(), KnownAnswers(), clock), theirs


async def test_a_reset_with_a_part_of_an_answer_is_reported_at_once() -> None:
    connection, theirs = connected()
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


async def before_departure(said: bytes, rested: float) -> Ending | None:
    """How a request ends whose server does that before it has left."""
    connection, theirs = connected(iter((0.0, rested)).__next__)
    waiter = connection.begin(REQUEST)
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    with anyio.fail_after(10):
        ending = await waiter
    connection.depart(deadline=inf)
    connection.finish(now=0.0)
    assert connection.closed
    assert theirs.recv(100) == b""  # nothing came, and nothing will
    theirs.close()
    return ending


async def test_what_a_server_says_before_a_request_has_left_is_no_answer_to_it() -> None:
    assert isinstance(await before_departure(ANSWER, rested=60), NotSent)


async def test_a_request_whose_connection_was_closed_at_rest_is_recalled_for_another() -> None:
    assert await before_departure(b"", rested=60) is None


async def test_a_server_that_closes_at_once_takes_a_try() -> None:
    assert isinstance(await before_departure(b"", rested=0), NotSent)


async def test_a_connection_is_looked_at_once_it_has_rested_a_moment() -> None:
    """The loop may not have come round to tell of what the server did meanwhile."""
    connection, theirs = connected()
    theirs.close()
    assert connection.stands(now=0.01)
    assert not connection.stands(now=0.05)


async def test_nothing_but_its_departure_lets_a_request_leave() -> None:
    connection, theirs = connected()
    connection.begin(REQUEST)
    connection._writable()  # as after something else that was to be sent, of TLS say
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(100)
    connection.depart(deadline=inf)
    theirs.setblocking(True)
    assert theirs.recv(100) == REQUEST[0]
    connection.close()
    theirs.close()


async def test_a_request_whose_try_was_cancelled_before_it_left_never_leaves() -> None:
    connection, theirs = connected()
    connection.begin(REQUEST)
    connection.finish(now=0.0)
    connection.depart(deadline=inf)
    assert connection.closed
    assert theirs.recv(100) == b""
    theirs.close()


async def test_requests_that_are_ready_in_one_round_of_the_loop_leave_together() -> None:
    left: list[str] = []
    transport = LeanTransport(Destination("http://127.0.0.1:1/", {}, 5))
    pairs = [connected(asyncio.get_running_loop().time) for _ in range(2)]
    transport._idle = [connection for connection, _ in pairs]

    def clearance(name: str) -> bool:
        left.append(name)
        for _, theirs in pairs:
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(100)
        return True

    sending = [
        asyncio.create_task(transport.send((b"{}",), name, partial(clearance, name))) for name in ("a", "b")
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
