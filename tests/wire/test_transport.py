"""Every way in which an attempt can end, over real sockets against a scripted server."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from engager.models import Ending, Lost, NotSent, Reply, Withheld
from engager.sending.transport.aiohttp import AiohttpTransport
from engager.sending.transport.base import MAX_ANSWER, Destination, InFlight, SendBatch, Transport
from engager.sending.transport.http1.transport import LeanTransport
from tests.wire.raw import listening

OK = b'{"data":null,"error":0,"error_text":"Successful operation"}'
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def response(body: bytes = OK, status: str = "200 OK", head: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


@asynccontextmanager
async def server(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async with listening(serve, tls) as port:
        yield f"http://127.0.0.1:{port}/start"


def scripted(*steps: bytes, close: bool = True) -> Serve:
    """Read one request, write the steps one by one, close."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for step in steps:
            writer.write(step)
            await writer.drain()
            await asyncio.sleep(0)
        if not close:
            await reader.read()

    return serve


async def admit() -> bool:
    return True


TRANSPORTS: dict[str, Callable[[Destination, int], Transport]] = {
    "aiohttp": AiohttpTransport,
    "lean": lambda destination, connections: LeanTransport(destination),
}
make_transport = TRANSPORTS["aiohttp"]


@pytest.fixture(autouse=True, params=TRANSPORTS)
def each_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with every transport."""
    monkeypatch.setitem(globals(), "make_transport", TRANSPORTS[request.param])


@asynccontextmanager
async def transport_to(
    url: str, seconds: float = 5, connections: int = 4, context: ssl.SSLContext | None = None
) -> AsyncIterator[Transport]:
    transport = make_transport(Destination(url, {"X-Test": "1"}, seconds, context), connections)
    try:
        yield transport
    finally:
        await transport.aclose()


async def send_once(serve: Serve, seconds: float = 5) -> Ending:
    async with server(serve) as url, transport_to(url, seconds) as transport:
        return await transport.send((b"{}",), "id-1", admit)


async def test_the_oldest_request_in_flight_has_an_age_and_an_end() -> None:
    """A server that accepts requests and is silent."""
    silent, came = asyncio.Event(), list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await read_request(reader))
        await silent.wait()
        writer.write(response())

    async with server(serve) as url, transport_to(url, 30) as transport, asyncio.TaskGroup() as tasks:
        assert transport.in_flight == InFlight(0, None, 0.0)
        sent = []
        for number in (1, 2):
            sent.append(tasks.create_task(transport.send((b"{}",), f"id-{number}", admit)))
            while len(came) < number:
                await asyncio.sleep(0.01)
        before = transport.in_flight
        await asyncio.sleep(0.05)
        after = transport.in_flight
        silent.set()
    assert before.requests == after.requests == 2
    assert before.oldest_seconds is not None
    assert after.oldest_seconds is not None
    assert 0 <= before.oldest_seconds < after.oldest_seconds
    assert 0 < after.ends_within_seconds < before.ends_within_seconds <= 30
    # The second one is given up last: it left after the first.
    assert after.oldest_seconds + after.ends_within_seconds > 30
    assert transport.in_flight.requests == 0
    assert all(isinstance(task.result(), Reply) for task in sent)


BUSY = response(b"busy", "503 Busy", "Date: Mon, 23 Nov 2026 12:00:00 GMT\r\nRetry-After: 3\r\n")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


async def test_retry_after_comes_with_the_date_of_the_response() -> None:
    ending = await send_once(scripted(BUSY))
    assert ending == Reply(503, b"busy", retry_after="3", date="Mon, 23 Nov 2026 12:00:00 GMT")


def corrupted(data: bytes, rng: random.Random) -> bytes:
    """The data with some bytes replaced, repeated or removed."""
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(data)), rng.randint(0, 3)
        other = rng.choice([rng.randbytes(size), data[at : at + 9] * 2, b"\r\n", b"-9"])
        data = data[:at] + other + data[at + size :]
    return data


async def test_any_bytes_of_a_server_are_an_ending() -> None:
    rng = random.Random(1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(corrupted(rng.choice([response(), BUSY, CHUNKED]), rng))

    async with server(serve) as url, transport_to(url) as transport:
        endings = [await transport.send((b"{}",), "id", admit) for _ in range(200)]
    assert {Reply, Lost} <= {type(ending) for ending in endings} <= {Reply, Lost, NotSent}


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "."])
async def test_an_invalid_host_name_ends_as_not_sent(host: str) -> None:
    for scheme in ("http", "https"):
        async with transport_to(f"{scheme}://{host}:1/start") as transport:
            assert isinstance(await transport.send((b"{}",), "id", admit), NotSent)


async def test_a_request_arrives_as_it_was_sent() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(response())

    async with server(serve) as url, transport_to(url) as transport:
        ending = await transport.send((b'{"a"', b":", b"1}"), "id-7", admit)
    assert ending == Reply(200, OK)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert body == b'{"a":1}'
    assert head.startswith(b"POST /start HTTP/1.1\r\n")
    lines = head.lower().split(b"\r\n")
    assert {b"request-id: id-7", b"content-length: 7", b"x-test: 1", b"accept-encoding: identity"} <= set(
        lines
    )


@pytest.mark.parametrize(
    ("steps", "ending"),
    [
        ([response(head="Connection: close\r\n")], Reply(200, OK)),
        ([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", OK], Reply(200, OK)),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3b\r\n" + OK + b"\r\n0\r\n\r\n"],
            Reply(200, OK),
        ),
        ([b"HTTP/1.1 103 Early Hints\r\n\r\n", response()], Reply(200, OK)),
        ([bytes([byte]) for byte in response()], Reply(200, OK)),
        ([response(b"", "204 No Content")], Reply(204, b"")),
        (
            [response(b"busy", "429 Too Many Requests", "Retry-After: 3\r\n")],
            Reply(429, b"busy", retry_after="3"),
        ),
        ([response(head="Duplicate-Request: true\r\n")], Reply(200, OK, duplicate=True)),
        ([response(head="X-Duplicate-Request: true\r\n")], Reply(200, OK, duplicate=True)),
        ([response(head="Duplicate-Request: false\r\n")], Reply(200, OK)),
        ([response(b"", "302 Found", "Location: /elsewhere\r\n")], Reply(302, b"", location="/elsewhere")),
    ],
)
async def test_a_response_is_read(steps: list[bytes], ending: Reply) -> None:
    assert await send_once(scripted(*steps)) == ending


async def test_a_truncated_response_is_incomplete() -> None:
    cut = await send_once(scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", OK))
    assert isinstance(cut, Reply)
    assert (cut.status, cut.complete) == (200, False)


@pytest.mark.parametrize("head", [b"Content-Length: 9999999", b"Connection: close"])
async def test_an_oversized_response_is_read_in_part(head: bytes) -> None:
    ending = await send_once(scripted(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", b"x" * (2 * MAX_ANSWER)))
    assert isinstance(ending, Reply)
    assert not ending.complete
    assert len(ending.body) <= MAX_ANSWER


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([], "connection_lost"),
        ([b"HTTP/1.1 200 O"], "connection_lost"),
        ([b"\x00\xffgarbage\r\n\r\n"], "not_http"),
    ],
)
async def test_a_request_without_a_response_is_lost(steps: list[bytes], error: str) -> None:
    ending = await send_once(scripted(*steps))
    assert isinstance(ending, Lost)
    assert ending.error == error


async def test_a_reset_after_sending_is_lost() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.transport.abort()

    assert isinstance(await send_once(serve), Lost)


@pytest.mark.parametrize("steps", [[], [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"]])
async def test_a_silent_server_is_lost_as_a_timeout(steps: list[bytes]) -> None:
    ending = await send_once(scripted(*steps, close=False), seconds=0.1)
    assert isinstance(ending, Lost)
    assert ending.error == "timeout"


async def test_a_refused_connection_ends_as_not_sent() -> None:
    async with server(scripted()) as url:
        pass
    async with transport_to(url) as transport:
        ending = await transport.send((b"{}",), "id", admit)
    assert isinstance(ending, NotSent)
    assert ending.error == "connect_failed"


async def test_an_unknown_host_ends_as_not_sent() -> None:
    async with transport_to("http://no-such-host.invalid/start") as transport:
        assert isinstance(await transport.send((b"{}",), "id", admit), NotSent)


async def test_an_attempt_that_is_not_admitted_sends_no_byte() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    async def refuse() -> bool:
        return False

    async with server(serve) as url, transport_to(url) as transport:
        assert await transport.send((b"{}",), "id", refuse) == Withheld()
    assert b"".join(seen) == b""


async def test_the_timeout_does_not_count_the_admission() -> None:
    async def admit_slowly() -> bool:
        await asyncio.sleep(0.3)
        return True

    async with server(scripted(response())) as url, transport_to(url, seconds=0.2) as transport:
        assert await transport.send((b"{}",), "id", admit_slowly) == Reply(200, OK)


async def test_a_connection_that_closes_during_admission_is_replaced() -> None:
    """Otherwise a long pause would lose the responses of requests that never left."""
    connections = 0
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            writer.close()
            closed.set()
            return
        await read_request(reader)
        writer.write(response())

    async def admit_after_close() -> bool:
        await closed.wait()
        await asyncio.sleep(0.05)
        return True

    async with server(serve) as url, transport_to(url) as transport:
        assert await transport.send((b"{}",), "id", admit_after_close) == Reply(200, OK)
    assert connections == 2


class RequestCounter:
    """A server that responds, and counts the requests."""

    def __init__(self) -> None:
        self.requests = 0
        self.received = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            self.requests += 1
            self.received.set()
            writer.write(response())


def batch_admission(until: asyncio.Future[None], *may_leave: bool) -> Callable[[], SendBatch]:
    """An admission that several attempts share."""
    admissions = iter(may_leave)
    shared = SendBatch(until, lambda: next(admissions))
    return lambda: shared


async def test_a_send_batch_leaves_when_its_future_is_done() -> None:
    counter, until = RequestCounter(), asyncio.get_running_loop().create_future()
    admission = batch_admission(until, *[True] * 3)
    async with server(counter) as url, transport_to(url) as transport:
        sending = [asyncio.create_task(transport.send((b"{}",), f"id-{n}", admission)) for n in range(3)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(counter.received.wait(), 0.1)
        until.set_result(None)
        assert await asyncio.gather(*sending) == [Reply(200, OK)] * 3


async def test_a_send_batch_checks_again_before_it_leaves() -> None:
    counter, asked = RequestCounter(), list[int]()

    def may_leave() -> bool:
        asked.append(counter.requests)
        return True

    together = SendBatch(None, may_leave)
    async with server(counter) as url, transport_to(url) as transport:
        sending = [transport.send((b"{}",), f"id-{n}", lambda: together) for n in range(3)]
        assert await asyncio.gather(*sending) == [Reply(200, OK)] * 3
        assert asked[0] == 0  # attempts that had to dial first check later


async def test_a_request_that_cannot_be_stored_does_not_leave() -> None:
    counter = RequestCounter()

    def full() -> bool:
        raise RuntimeError("the journal cannot be written")

    async with server(counter) as url, transport_to(url) as transport:
        sending = [transport.send((b"{}",), f"id-{n}", lambda: SendBatch(None, full)) for n in range(3)]
        ends = await asyncio.gather(*sending, return_exceptions=True)
        assert [type(end) for end in ends] == [RuntimeError] * 3
        assert await transport.send((b"{}",), "id", admit) == Reply(200, OK)
    assert counter.requests == 1


async def test_the_timeout_does_not_count_the_wait_of_a_send_batch() -> None:
    until = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.3, until.set_result, None)
    async with server(RequestCounter()) as url, transport_to(url, seconds=0.2) as transport:
        assert await transport.send((b"{}",), "id", batch_admission(until, True)) == Reply(200, OK)


async def test_a_send_batch_that_may_not_leave_is_admitted_again() -> None:
    counter, until = RequestCounter(), asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(until.set_result, None)
    admissions = iter((batch_admission(until, False)(), False))
    async with server(counter) as url, transport_to(url, connections=1) as transport:
        assert await transport.send((b"{}",), "id-1", lambda: next(admissions)) == Withheld()
        assert counter.requests == 0
        assert await transport.send((b"{}",), "id-2", admit) == Reply(200, OK)
    assert counter.requests == 1


async def test_a_failed_store_fails_each_attempt_of_a_send_batch() -> None:
    counter, until = RequestCounter(), asyncio.get_running_loop().create_future()
    admission = batch_admission(until, *[True] * 2)
    async with server(counter) as url, transport_to(url) as transport:
        sending = [asyncio.create_task(transport.send((b"{}",), f"id-{n}", admission)) for n in range(2)]
        await asyncio.sleep(0.05)
        until.set_exception(RuntimeError("the disk is gone"))
        ends = await asyncio.gather(*sending, return_exceptions=True)
    assert [type(end) for end in ends] == [RuntimeError] * 2
    assert counter.requests == 0


async def test_a_cancelled_attempt_of_a_send_batch_sends_no_byte() -> None:
    counter, until = RequestCounter(), asyncio.get_running_loop().create_future()
    admission = batch_admission(until, *[True] * 2)
    async with server(counter) as url, transport_to(url) as transport:
        sending = [asyncio.create_task(transport.send((b"{}",), f"id-{n}", admission)) for n in range(2)]
        await asyncio.sleep(0.05)
        sending[0].cancel()
        await asyncio.sleep(0)
        until.set_result(None)
        assert await sending[1] == Reply(200, OK)
        assert sending[0].cancelled()
    assert counter.requests == 1


async def test_a_connection_is_reused_and_no_request_is_repeated() -> None:
    connections, requests = 0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, requests
        connections += 1
        for number in range(3):
            await read_request(reader)
            requests += 1
            if number == 2:
                return  # read, and closed without a response: a careless client would send again
            writer.write(response())

    async with server(serve) as url, transport_to(url, connections=1) as transport:
        endings = [await transport.send((b"{}",), "id", admit) for _ in range(3)]
    assert endings[:2] == [Reply(200, OK), Reply(200, OK)]
    assert isinstance(endings[2], Lost)
    assert (connections, requests) == (1, 3)


async def test_an_unrequested_response_is_discarded() -> None:
    scripts = [[response()], [response(), response()], [response(head="Duplicate-Request: true\r\n")]]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while scripts:
            await read_request(reader)
            for part in scripts.pop(0):
                writer.write(part)
                await asyncio.sleep(0.01)

    async with server(serve) as url, transport_to(url, connections=1) as transport:
        endings = []
        for number in range(3):
            endings.append(await transport.send((b"{}",), f"id-{number}", admit))
            await asyncio.sleep(0.05)
    assert endings == [Reply(200, OK), Reply(200, OK), Reply(200, OK, duplicate=True)]


async def test_the_splits_of_a_response_do_not_matter() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for cut in (0, 10, 0, -1, 0):
            await read_request(reader)
            for part in (response()[:cut], response()[cut:]):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01)
        await reader.read()

    async with server(serve) as url, transport_to(url, connections=1) as transport:
        endings = [await transport.send((b"{}",), f"id-{number}", admit) for number in range(5)]
    assert endings == [Reply(200, OK)] * 5


async def test_a_cancelled_attempt_ends_at_once() -> None:
    async with server(scripted(close=False)) as url, transport_to(url, seconds=60) as transport:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await transport.send((b"{}",), "id", admit)


async def test_a_connect_timeout_ends_as_not_sent() -> None:
    """A full backlog: the handshake is never finished, so no request can have left."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        async with transport_to(f"http://127.0.0.1:{full.getsockname()[1]}/start", seconds=0.2) as transport:
            ending = await transport.send((b"{}",), "id", admit)
    assert isinstance(ending, NotSent)
    assert ending.error == "connect_timeout"


async def test_a_large_body_arrives_whole() -> None:
    sizes: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            sizes.append(len((await read_request(reader)).partition(b"\r\n\r\n")[2]))
            writer.write(response())

    attachment = b"x" * 5_000_000
    async with server(serve) as url, transport_to(url) as transport:
        for _ in range(2):
            assert await transport.send((b"{", attachment, b"}"), "id", admit) == Reply(200, OK)
    assert sizes == [5_000_002, 5_000_002]


async def test_a_response_before_the_end_of_the_body_is_read() -> None:
    """The rest of the body must not be read as the next request."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(b"too large", "413 Payload Too Large"))
        await writer.drain()
        await asyncio.sleep(0.2)

    async with server(serve) as url, transport_to(url) as transport:
        for _ in range(2):
            ending = await transport.send((b"x" * 20_000_000,), "id", admit)
            # A response that the reset of the connection removed: the body never arrived whole.
            assert isinstance(ending, Reply | NotSent)
            assert not isinstance(ending, Reply) or ending.status == 413
    assert connections == 2


@pytest.mark.parametrize(("aborts", "error"), [(True, "connection_lost"), (False, "timeout")])
@pytest.mark.parametrize("over_tls", [False, True])
async def test_a_request_whose_body_left_in_part_ends_as_not_sent(
    aborts: bool, error: str, over_tls: bool
) -> None:
    """Assumed: an endpoint does nothing for a part of a body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        if aborts:
            writer.transport.abort()
        else:
            await asyncio.sleep(0.8)

    served = tls_server(serve) if over_tls else server(serve)
    context = trusting(AUTHORITY) if over_tls else None
    async with served as url, transport_to(url, 5 if aborts else 0.5, context=context) as transport:
        ending = await transport.send((b"x" * 50_000_000,), "id", admit)
    # aiohttp does not know how much of what it encrypted has left.
    is_known = not (over_tls and make_transport is TRANSPORTS["aiohttp"])
    assert isinstance(ending, NotSent if is_known else NotSent | Lost)
    assert ending.error == error


AUTHORITY = trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def tls_server(
    serve: Serve, name: str = "localhost", asks_client_cert: bool = False
) -> AsyncIterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(name).configure_cert(context)
    if asks_client_cert:
        AUTHORITY.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    async with server(serve, context) as url:
        yield url.replace("http://127.0.0.1", "https://localhost")


async def send_over_tls(context: ssl.SSLContext, times: int = 1, **settings: Any) -> list[Ending]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(response(OK * 2000))

    async with tls_server(serve, **settings) as url:
        transport = make_transport(Destination(url, {}, 5, context), 4)
        try:
            return [await transport.send((b"{}" * 300_000,), "id", admit) for _ in range(times)]
        finally:
            await transport.aclose()


async def test_a_custom_authority_is_trusted() -> None:
    assert await send_over_tls(trusting(AUTHORITY), 3) == [Reply(200, OK * 2000)] * 3


@pytest.mark.parametrize(
    ("authority", "name"), [(trustme.CA(), "localhost"), (AUTHORITY, "elsewhere.example")]
)
async def test_an_invalid_server_certificate_ends_as_not_sent(authority: trustme.CA, name: str) -> None:
    (ending,) = await send_over_tls(trusting(authority), name=name)
    assert isinstance(ending, NotSent)
    assert ending.error == "tls"


async def test_a_client_certificate_is_presented() -> None:
    context = trusting(AUTHORITY)
    AUTHORITY.issue_cert("client.example").configure_cert(context)
    assert await send_over_tls(context, asks_client_cert=True) == [Reply(200, OK * 2000)]


async def test_a_server_without_tls_ends_as_not_sent() -> None:
    async with server(scripted(response())) as url:
        transport = make_transport(Destination(url.replace("http", "https"), {}, 1, None), 4)
        ending = await transport.send((b"{}",), "id", admit)
        await transport.aclose()
    assert isinstance(ending, NotSent)


async def test_a_connection_that_the_server_closed_is_not_used() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_request(reader)
        writer.write(response())

    async with server(serve) as url, transport_to(url) as transport:
        for _ in range(3):
            assert await transport.send((b"{}",), "id", admit) == Reply(200, OK)
            await asyncio.sleep(0.05)
    assert connections == 3
