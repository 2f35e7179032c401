"""No row is in doubt without a reason: idle connections, a suspended process, a refused certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme

import engager
from engager.models import CLIENT_CERT, NotSent, Reply
from engager.sending.transport.aiohttp import AiohttpTransport
from engager.sending.transport.base import REST, Destination, Transport
from engager.sending.transport.http1.transport import LeanTransport
from tests.wire.raw import OK, listening

MakeTransport = Callable[[Destination], Transport]
TRANSPORTS = [LeanTransport, lambda destination: AiohttpTransport(destination, 4)]


@pytest.fixture(params=TRANSPORTS, ids=["lean", "aiohttp"])
def make_transport(request: pytest.FixtureRequest) -> MakeTransport:
    return request.param  # type: ignore[no-any-return]


async def admit() -> bool:
    return True


def response(head: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(OK)}\r\n{head}\r\n".encode() + OK


class IdleTimeoutServer:
    """Responds on a connection that was not idle for too long; closes one that was, without a response."""

    def __init__(self, head: str = "", idle_timeout: float = REST) -> None:
        self.head, self.idle_timeout, self.connections, self.lost = head, idle_timeout, 0, 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        idle_since = time.monotonic()
        while await reader.readuntil(b"\r\n\r\n{}"):
            if time.monotonic() - idle_since > self.idle_timeout:
                self.lost += 1
                return
            writer.write(response(self.head))
            idle_since = time.monotonic()


async def test_an_idle_connection_is_replaced(make_transport: MakeTransport) -> None:
    server = IdleTimeoutServer()
    async with listening(server) as port:
        transport = make_transport(Destination(f"http://127.0.0.1:{port}/", {}, 5))
        for pause in (0, REST + 0.1):
            await asyncio.sleep(pause)
            assert await transport.send((b"{}",), "id", admit) == Reply(200, OK)
        await transport.aclose()
    assert (server.connections, server.lost) == (2, 0)


@pytest.mark.parametrize(
    ("head", "connections"),
    [("Keep-Alive: timeout=0\r\n", 3), ("Keep-Alive: max=9, timeout=60\r\n", 1), ("Keep-Alive: soon\r\n", 1)],
)
async def test_keep_alive_limits_how_long_a_connection_may_be_idle(head: str, connections: int) -> None:
    server = IdleTimeoutServer(head, 60)
    async with listening(server) as port:
        transport = LeanTransport(Destination(f"http://127.0.0.1:{port}/", {}, 5))
        for _ in range(3):
            assert await transport.send((b"{}",), "id", admit) == Reply(200, OK)
        await transport.aclose()
    assert server.connections == connections


async def test_a_late_attempt_uses_the_connection_that_was_used_last(make_transport: MakeTransport) -> None:
    server, admitted = IdleTimeoutServer(), asyncio.Event()

    async def admit_late() -> bool:
        await admitted.wait()
        return True

    async with listening(server) as port:
        transport = make_transport(Destination(f"http://127.0.0.1:{port}/", {}, 5))
        waiting = asyncio.create_task(transport.send((b"{}",), "late", admit_late))
        await asyncio.sleep(REST + 0.1)
        assert await transport.send((b"{}",), "id", admit) == Reply(200, OK)
        admitted.set()
        assert await waiting == Reply(200, OK)
        await transport.aclose()
    assert (server.connections, server.lost) == (2, 0)


async def test_a_response_during_a_suspension_is_read_before_the_timeout(
    make_transport: MakeTransport,
) -> None:
    answered = threading.Event()

    def serve(server: socket.socket) -> None:
        theirs, _ = server.accept()
        with theirs:
            received = b""
            while not received.endswith(b"{}"):
                received += theirs.recv(1000)
            theirs.sendall(response())
            answered.set()
            theirs.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        transport = make_transport(Destination(f"http://127.0.0.1:{listener.getsockname()[1]}/", {}, 0.3))
        left = asyncio.Event()

        async def admit_and_signal() -> bool:
            asyncio.get_running_loop().call_later(0.05, left.set)
            return True

        sending = asyncio.create_task(transport.send((b"{}",), "id", admit_and_signal))
        await left.wait()
        suspended_until = time.monotonic() + 0.5
        while time.monotonic() < suspended_until:  # as if the process were suspended: the loop does not run
            pass
        ending = await sending
        await transport.aclose()
        await asyncio.to_thread(thread.join)
    assert (ending, answered.is_set()) == (Reply(200, OK), True)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def requiring_client_cert(
    authority: trustme.CA, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """The settings of a server that accepts only clients with a certificate of this authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = version
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextmanager
def refusing_server(context: ssl.SSLContext) -> Iterator[int]:
    """A server with OpenSSL, which sends the reason of a refusal; asyncio's does not."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                theirs, _ = listener.accept()
            except OSError:
                return
            secured = context.wrap_socket(theirs, True, do_handshake_on_connect=False)
            with secured, suppress(OSError):
                secured.do_handshake()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("given", [False, True], ids=["no certificate", "one of another authority"])
async def test_a_refused_client_certificate_ends_as_not_sent(authority: trustme.CA, given: bool) -> None:
    """Not with aiohttp: if its write fails first, it does not read the reason."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if given:
        trustme.CA().issue_cert("client.example").configure_cert(context)
    with refusing_server(requiring_client_cert(authority)) as port:
        transport = LeanTransport(Destination(f"https://localhost:{port}/", {}, 5, context))
        ending = await transport.send((b"{}",), "id", admit)
        await transport.aclose()
    assert isinstance(ending, NotSent)
    assert ending.error == CLIENT_CERT


@pytest.mark.one_loop
async def test_a_run_without_a_client_certificate_leaves_no_row_in_doubt(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", "t0ken-of-the-tests")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "people.csv").write_text("email\n" + "".join(f"p{n}@example.com\n" for n in range(20)))
    with refusing_server(requiring_client_cert(authority)) as port:
        endpoint = {
            "url": f"https://localhost:{port}",
            "token": "env:ENGAGER_TEST_TOKEN",
            "ca_file": "ca.pem",
        }
        tables = {
            "job": {"name": "certificate"},
            "endpoint": endpoint,
            "input": {"path": "people.csv"},
            "request": {"id": 12, "email": "{email}"},
            "output": {"report": False},
            "delivery": {"mode": "at-most-once"},
        }
        job = engager.build_job(tables, base=tmp_path)
        summary = await engager.run_async(job, out=tmp_path / "run")
    assert (summary.exit_code, summary.rows) == (3, 0)
    assert "endpoint.client_cert" in (summary.stopped or "")
