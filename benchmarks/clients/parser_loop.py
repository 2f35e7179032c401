"""The least that Python can do for an HTTP exchange: a socket, a persistent reader callback, a C parser.

    python -m benchmarks.clients.parser_loop URL PEOPLE CERTIFICATE [--fixed] [--loop asyncio]

One exchange is in flight a connection; no deadlines, no retries, nothing written down. `--fixed` sends one
body again and again and decodes no answer, as wrk and hey do.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httptools
import orjson
import uvloop

from benchmarks.clients.bodies import bodies, fixed_bodies

CONNECTIONS = 64


class Connection:
    """One socket that sends the next body whenever the answer before is complete."""

    def __init__(self, wire: socket.socket, head: bytes, work: Iterator[bytes], decode: bool) -> None:
        self.wire, self.head, self.work, self.decode = wire, head, work, decode
        self.parser = httptools.HttpResponseParser(self)
        self.answer = b""
        self.closed: Callable[[], None]

    def send_next(self) -> None:
        body = next(self.work, None)
        if body is None:
            self.closed()
        else:
            self.wire.send(self.head % len(body) + body)

    def readable(self) -> None:
        try:
            data = self.wire.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):  # a session ticket is no answer
            return
        if not data:
            raise SystemExit("the endpoint closed a connection")
        self.parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.answer += data

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() != 200 or (self.decode and orjson.loads(self.answer)["error"]):
            raise SystemExit("the endpoint refused")
        self.answer = b""
        self.send_next()


def connect(url: SplitResult, context: ssl.SSLContext | None) -> socket.socket:
    assert url.hostname
    assert url.port
    wire = socket.create_connection((url.hostname, url.port))
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context:
        wire = context.wrap_socket(wire, server_hostname=url.hostname)
    wire.setblocking(False)
    return wire


async def send_all(
    url: SplitResult, context: ssl.SSLContext | None, work: Iterator[bytes], decode: bool
) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    lines = [f"POST {url.path} HTTP/1.1", f"Host: {url.netloc}", "Content-Type: application/json"]
    head = "\r\n".join([*lines, "Content-Length: %d", "", ""]).encode()
    wires = [connect(url, context) for _ in range(CONNECTIONS)]
    left = len(wires)

    def close(wire: socket.socket) -> None:
        nonlocal left
        loop.remove_reader(wire.fileno())
        wire.close()
        left -= 1
        if not left:
            done.set()

    for wire in wires:
        connection = Connection(wire, head, work, decode)
        connection.closed = lambda wire=wire: close(wire)  # type: ignore[misc]
        loop.add_reader(wire.fileno(), connection.readable)
        connection.send_next()
    await done.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("people", type=Path)
    parser.add_argument("certificate")
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    given = parser.parse_args()
    url = urlsplit(given.url)
    context = ssl.create_default_context(cafile=given.certificate) if url.scheme == "https" else None
    work = fixed_bodies(given.people) if given.fixed else bodies(given.people)
    factory = uvloop.new_event_loop if given.loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(send_all(url, context, work, not given.fixed))


if __name__ == "__main__":
    main()
