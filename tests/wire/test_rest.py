"""Rows that no attempt can have reached: idle connections, a suspended process, a refused certificate."""

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

Make = Callable[[Destination], Transport]
TRANSPORTS = [LeanTransport, lambda destination: AiohttpTransport(destination, 4)]


@pytest.fixture(params=TRANSPORTS, ids=["lean", "aiohttp"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param  # type: ignore[no-any-return]


async def cleared() -> bool:
    return True


def answer(head: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(OK)}\r\n{head}\r\n".encode() + OK


class Impatient:
    """Answers each request on a connection that has not rested; closes one that has, without an answer."""

    def __init__(self, head: str = "", patience: float = REST) -> None:
        self.head, self.patience, self.connections, self.lost = head, patience, 0, 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        rested_since = time.monotonic()
        while await reader.readuntil(b"\r\n\r\n{}"):
            if time.monotonic() - rested_since > self.patience:
                self.lost += 1
                return
            writer.write(answer(self.head))
            rested_since = time.monotonic()


async def test_a_connection_that_rested_is_not_used(make: Make) -> None:
    server = Impatient()
    async with listening(server) as port:
        transport = make(Destination(f"http://127.0.0.1:{port}/", {}, 5))
        for pause in (0, REST + 0.1):
            await asyncio.sleep(pause)
            assert await transport.send((b"{}",), "id", cleared) == Reply(200, OK)
        await transport.aclose()
    assert (server.connections, server.lost) == (2, 0)


@pytest.mark.parametrize(
    ("head", "connections"),
    [("Keep-Alive: timeout=0\r\n", 3), ("Keep-Alive: max=9, timeout=60\r\n", 1), ("Keep-Alive: soon\r\n", 1)],
)
async def test_a_server_announces_how_long_a_connection_may_rest(head: str, connections: int) -> None:
    server = Impatient(head, 60)
    async with listening(server) as port:
        transport = LeanTransport(Destination(f"http://127.0.0.1:{port}/", {}, 5))
        for _ in range(3):
            assert await transport.send((b"{}",), "id", cleared) == Reply(200, OK)
        await transport.aclose()
    assert server.connections == connections


async def test_who_waits_for_admission_takes_the_connection_that_was_used_last(make: Make) -> None:
    server, admitted = Impatient(), asyncio.Event()

    async def late() -> bool:
        await admitted.wait()
        return True

    async with listening(server) as port:
        transport = make(Destination(f"http://127.0.0.1:{port}/", {}, 5))
        waiting = asyncio.create_task(transport.send((b"{}",), "late", late))
        await asyncio.sleep(REST + 0.1)
        assert await transport.send((b"{}",), "id", cleared) == Reply(200, OK)
        admitted.set()
        assert await waiting == Reply(200, OK)
        await transport.aclose()
    assert (server.connections, server.lost) == (2, 0)


async def test_what_came_while_the_process_was_suspended_is_read_before_it_is_given_up(make: Make) -> None:
    answered = threading.Event()

    def serve(server: socket.socket) -> None:
        theirs, _ = server.accept()
        with theirs:
            came = b""
            while not came.endswith(b"{}"):
                came += theirs.recv(1000)
            theirs.sendall(answer())
            answered.set()
            theirs.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        transport = make(Destination(f"http://127.0.0.1:{listener.getsockname()[1]}/", {}, 0.3))
        left = asyncio.Event()

        async def leaving() -> bool:
            asyncio.get_running_loop().call_later(0.05, left.set)
            return True

        sending = asyncio.create_task(transport.send((b"{}",), "id", leaving))
        await left.wait()
        suspended_until = time.monotonic() + 0.5
        while time.monotonic() < suspended_until:  # as if it were stopped: the loop does not turn
            pass
        ending = await sending
        await transport.aclose()
        await asyncio.to_thread(thread.join)
    assert (ending, answered.is_set()) == (Reply(200, OK), True)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def asking(authority: trustme.CA, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A server that accepts no client without a certificate of this authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = version
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextmanager
def refusing(context: ssl.SSLContext) -> Iterator[int]:
    """A server of OpenSSL, which says why it refuses a client; asyncio's does not."""

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
async def test_a_server_that_wants_another_certificate_has_taken_nothing(
    authority: trustme.CA, given: bool
) -> None:
    """Not of aiohttp: if its write fails first, it does not read what the server said."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if given:
        trustme.CA().issue_cert("client.example").configure_cert(context)
    with refusing(asking(authority)) as port:
        transport = LeanTransport(Destination(f"https://localhost:{port}/", {}, 5, context))
        ending = await transport.send((b"{}",), "id", cleared)
        await transport.aclose()
    assert isinstance(ending, NotSent)
    assert ending.error == CLIENT_CERT


@pytest.mark.one_loop
async def test_a_run_without_a_client_certificate_stops_and_doubts_nobody(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", "t0ken-of-the-tests")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "people.csv").write_text("email\n" + "".join(f"p{n}@example.com\n" for n in range(20)))
    with refusing(asking(authority)) as port:
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
