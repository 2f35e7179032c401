"""A connection that breaks, as the loop tells of it."""

from __future__ import annotations

import asyncio
import socket
import struct
from math import inf

from engager.dispatch.http1.connection import BLOCK, Connection
from engager.dispatch.http1.known import KnownAnswers
from engager.model import Lost, Reply


async def test_a_reset_that_comes_together_with_a_part_of_an_answer_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sock = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    sock.setblocking(False)
    block = memoryview(bytearray(BLOCK))
    connection = Connection(sock, None, asyncio.get_running_loop(), KnownAnswers(), block, now=0.0)
    waiter = connection.begin((b"POST / HTTP/1.1\r\n\r\n",), deadline=inf)
    theirs.recv(100)
    theirs.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    async with asyncio.timeout(10):
        ending = await waiter
    connection.finish(now=0.0)
    assert isinstance(ending, Lost) or (isinstance(ending, Reply) and not ending.complete)
    assert connection.closed
