"""Every way in which a try can end, over real sockets against a server that does what the test says."""

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
from engager.sending.transport.base import MAX_ANSWER, Destination, SendBatch, Transport
from engager.sending.transport.http1.transport import LeanTransport
from tests.wire.raw import listening

OK = b'{"data":null,"error":0,"error_text":"Successful operation"}'
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes = OK, status: str = "200 OK", head: str = "") -> bytes:
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


async def cleared() -> bool:
    return True


TRANSPORTS: dict[str, Callable[[Destination, int], Transport]] = {
    "aiohttp": AiohttpTransport,
    "lean": lambda destination, connections: LeanTransport(destination),
}
tried = TRANSPORTS["aiohttp"]


@pytest.fixture(autouse=True, params=TRANSPORTS)
def each_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is promised here, every transport keeps."""
    monkeypatch.setitem(globals(), "tried", TRANSPORTS[request.param])


@asynccontextmanager
async def transport_to(
    url: str, seconds: float = 5, connections: int = 4, context: ssl.SSLContext | None = None
) -> AsyncIterator[Transport]:
    transport = tried(Destination(url, {"X-Test": "1"}, seconds, context), connections)
    try:
        yield transport
    finally:
        await transport.aclose()


async def send_once(serve: Serve, seconds: float = 5) -> Ending:
    async with server(serve) as url, transport_to(url, seconds) as transport:
        return await transport.send((b"{}",), "id-1", cleared)


BUSY = answer(b"busy", "503 Busy", "Date: Mon, 23 Nov 2026 12:00:00 GMT\r\nRetry-After: 3\r\n")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


async def test_the_clock_of_an_answer_comes_with_its_pause() -> None:
    ending = await send_once(scripted(BUSY))
    assert ending == Reply(503, b"busy", retry_after="3", date="Mon, 23 Nov 2026 12:00:00 GMT")


def spoiled(data: bytes, rng: random.Random) -> bytes:
    """Some bytes of it replaced, doubled or gone."""
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(data)), rng.randint(0, 3)
        other = rng.choice([rng.randbytes(size), data[at : at + 9] * 2, b"\r\n", b"-9"])
        data = data[:at] + other + data[at + size :]
    return data


async def test_whatever_bytes_come_are_an_ending() -> None:
    rng = random.Random(1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(spoiled(rng.choice([answer(), BUSY, CHUNKED]), rng))

    async with server(serve) as url, transport_to(url) as transport:
        endings = [await transport.send((b"{}",), "id", cleared) for _ in range(200)]
    assert {Reply, Lost} <= {type(ending) for ending in endings} <= {Reply, Lost, NotSent}


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "."])
async def test_a_name_that_cannot_be_one_is_an_ending(host: str) -> None:
    for scheme in ("http", "https"):
        async with transport_to(f"{scheme}://{host}:1/start") as transport:
            assert isinstance(await transport.send((b"{}",), "id", cleared), NotSent)


async def test_what_arrives_is_what_was_sent() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(answer())

    async with server(serve) as url, transport_to(url) as transport:
        ending = await transport.send((b'{"a"', b":", b"1}"), "id-7", cleared)
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
        ([answer(head="Connection: close\r\n")], Reply(200, OK)),
        ([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", OK], Reply(200, OK)),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3b\r\n" + OK + b"\r\n0\r\n\r\n"],
            Reply(200, OK),
        ),
        ([b"HTTP/1.1 103 Early Hints\r\n\r\n", answer()], Reply(200, OK)),
        ([bytes([byte]) for byte in answer()], Reply(200, OK)),
        ([answer(b"", "204 No Content")], Reply(204, b"")),
        (
            [answer(b"busy", "429 Too Many Requests", "Retry-After: 3\r\n")],
            Reply(429, b"busy", retry_after="3"),
        ),
        ([answer(head="Duplicate-Request: true\r\n")], Reply(200, OK, duplicate=True)),
        ([answer(head="X-Duplicate-Request: true\r\n")], Reply(200, OK, duplicate=True)),
        ([answer(head="Duplicate-Request: false\r\n")], Reply(200, OK)),
        ([answer(b"", "302 Found", "Location: /elsewhere\r\n")], Reply(302, b"", location="/elsewhere")),
    ],
)
async def test_answers(steps: list[bytes], ending: Reply) -> None:
    assert await send_once(scripted(*steps)) == ending


async def test_an_answer_that_is_cut_off_is_marked_as_such() -> None:
    cut = await send_once(scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", OK))
    assert isinstance(cut, Reply)
    assert (cut.status, cut.complete) == (200, False)


@pytest.mark.parametrize("head", [b"Content-Length: 9999999", b"Connection: close"])
async def test_an_oversized_answer_is_not_read_to_its_end(head: bytes) -> None:
    ending = await send_once(scripted(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", b"x" * (2 * MAX_ANSWER)))
    assert isinstance(ending, Reply)
    assert not ending.complete
    assert len(ending.body) <= MAX_ANSWER


@pytest.mark.parametrize(
    ("steps", "word"),
    [
        ([], "connection_lost"),
        ([b"HTTP/1.1 200 O"], "connection_lost"),
        ([b"\x00\xffgarbage\r\n\r\n"], "not_http"),
    ],
)
async def test_sent_and_no_answer_is_lost(steps: list[bytes], word: str) -> None:
    ending = await send_once(scripted(*steps))
    assert isinstance(ending, Lost)
    assert ending.error == word


async def test_a_reset_after_sending_is_lost() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.transport.abort()

    assert isinstance(await send_once(serve), Lost)


@pytest.mark.parametrize("steps", [[], [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"]])
async def test_silence_is_lost_as_a_timeout(steps: list[bytes]) -> None:
    ending = await send_once(scripted(*steps, close=False), seconds=0.1)
    assert isinstance(ending, Lost)
    assert ending.error == "timeout"


async def test_a_port_without_a_listener() -> None:
    async with server(scripted()) as url:
        pass
    async with transport_to(url) as transport:
        ending = await transport.send((b"{}",), "id", cleared)
    assert isinstance(ending, NotSent)
    assert ending.error == "connect_failed"


async def test_an_unknown_host_is_not_sent() -> None:
    async with transport_to("http://no-such-host.invalid/start") as transport:
        assert isinstance(await transport.send((b"{}",), "id", cleared), NotSent)


async def test_a_try_without_clearance_leaves_no_byte() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    async def held_back() -> bool:
        return False

    async with server(serve) as url, transport_to(url) as transport:
        assert await transport.send((b"{}",), "id", held_back) == Withheld()
    assert b"".join(seen) == b""


async def test_waiting_for_clearance_is_not_the_endpoints_fault() -> None:
    async def slowly_cleared() -> bool:
        await asyncio.sleep(0.3)
        return True

    async with server(scripted(answer())) as url, transport_to(url, seconds=0.2) as transport:
        assert await transport.send((b"{}",), "id", slowly_cleared) == Reply(200, OK)


async def test_a_connection_that_dies_while_waiting_for_clearance_is_replaced() -> None:
    """Otherwise a long pause would turn into lost answers that were never asked for."""
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
        writer.write(answer())

    async def cleared_late() -> bool:
        await closed.wait()
        await asyncio.sleep(0.05)
        return True

    async with server(serve) as url, transport_to(url) as transport:
        assert await transport.send((b"{}",), "id", cleared_late) == Reply(200, OK)
    assert connections == 2


class Arrivals:
    """A server that answers, and what has come to it."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes_came = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            self.requests += 1
            self.bytes_came.set()
            writer.write(answer())


def held(until: asyncio.Future[None], *may_leave: bool) -> Callable[[], SendBatch]:
    """Clearance that many share."""
    answers = iter(may_leave)
    shared = SendBatch(until, lambda: next(answers))
    return lambda: shared


async def test_what_is_held_together_leaves_when_that_is_done_and_not_before() -> None:
    arrivals, until = Arrivals(), asyncio.get_running_loop().create_future()
    clearance = held(until, *[True] * 3)
    async with server(arrivals) as url, transport_to(url) as transport:
        sending = [asyncio.create_task(transport.send((b"{}",), f"id-{n}", clearance)) for n in range(3)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(arrivals.bytes_came.wait(), 0.1)
        until.set_result(None)
        assert await asyncio.gather(*sending) == [Reply(200, OK)] * 3


async def test_what_leaves_in_one_round_asks_once_more_before_it_leaves() -> None:
    arrivals, asked = Arrivals(), list[int]()

    def may_leave() -> bool:
        asked.append(arrivals.requests)
        return True

    together = SendBatch(None, may_leave)
    async with server(arrivals) as url, transport_to(url) as transport:
        sending = [transport.send((b"{}",), f"id-{n}", lambda: together) for n in range(3)]
        assert await asyncio.gather(*sending) == [Reply(200, OK)] * 3
        assert asked[0] == 0  # and those that had to dial first ask later


async def test_what_cannot_be_written_down_does_not_leave() -> None:
    arrivals = Arrivals()

    def full() -> bool:
        raise RuntimeError("the ledger cannot be kept")

    async with server(arrivals) as url, transport_to(url) as transport:
        sending = [transport.send((b"{}",), f"id-{n}", lambda: SendBatch(None, full)) for n in range(3)]
        ends = await asyncio.gather(*sending, return_exceptions=True)
        assert [type(end) for end in ends] == [RuntimeError] * 3
        assert await transport.send((b"{}",), "id", cleared) == Reply(200, OK)
    assert arrivals.requests == 1


async def test_what_is_held_is_not_timed_meanwhile() -> None:
    until = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.3, until.set_result, None)
    async with server(Arrivals()) as url, transport_to(url, seconds=0.2) as transport:
        assert await transport.send((b"{}",), "id", held(until, True)) == Reply(200, OK)


async def test_what_may_not_leave_any_more_asks_for_clearance_again() -> None:
    arrivals, until = Arrivals(), asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(until.set_result, None)
    answers = iter((held(until, False)(), False))
    async with server(arrivals) as url, transport_to(url, connections=1) as transport:
        assert await transport.send((b"{}",), "id-1", lambda: next(answers)) == Withheld()
        assert arrivals.requests == 0
        assert await transport.send((b"{}",), "id-2", cleared) == Reply(200, OK)
    assert arrivals.requests == 1


async def test_a_fault_of_what_they_wait_for_is_everybodys_and_nothing_leaves() -> None:
    arrivals, until = Arrivals(), asyncio.get_running_loop().create_future()
    clearance = held(until, *[True] * 2)
    async with server(arrivals) as url, transport_to(url) as transport:
        sending = [asyncio.create_task(transport.send((b"{}",), f"id-{n}", clearance)) for n in range(2)]
        await asyncio.sleep(0.05)
        until.set_exception(RuntimeError("the disk is gone"))
        ends = await asyncio.gather(*sending, return_exceptions=True)
    assert [type(end) for end in ends] == [RuntimeError] * 2
    assert arrivals.requests == 0


async def test_who_is_cancelled_while_held_leaves_no_byte_and_the_others_leave() -> None:
    arrivals, until = Arrivals(), asyncio.get_running_loop().create_future()
    clearance = held(until, *[True] * 2)
    async with server(arrivals) as url, transport_to(url) as transport:
        sending = [asyncio.create_task(transport.send((b"{}",), f"id-{n}", clearance)) for n in range(2)]
        await asyncio.sleep(0.05)
        sending[0].cancel()
        await asyncio.sleep(0)
        until.set_result(None)
        assert await sending[1] == Reply(200, OK)
        assert sending[0].cancelled()
    assert arrivals.requests == 1


async def test_connections_are_kept_and_nothing_is_sent_twice() -> None:
    connections, requests = 0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, requests
        connections += 1
        for number in range(3):
            await read_request(reader)
            requests += 1
            if number == 2:
                return  # read, and closed without an answer: a careless client would send again
            writer.write(answer())

    async with server(serve) as url, transport_to(url, connections=1) as transport:
        endings = [await transport.send((b"{}",), "id", cleared) for _ in range(3)]
    assert endings[:2] == [Reply(200, OK), Reply(200, OK)]
    assert isinstance(endings[2], Lost)
    assert (connections, requests) == (1, 3)


async def test_an_unrequested_answer_is_not_taken_for_the_next_one() -> None:
    scripts = [[answer()], [answer(), answer()], [answer(head="Duplicate-Request: true\r\n")]]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while scripts:
            await read_request(reader)
            for part in scripts.pop(0):
                writer.write(part)
                await asyncio.sleep(0.01)

    async with server(serve) as url, transport_to(url, connections=1) as transport:
        endings = []
        for number in range(3):
            endings.append(await transport.send((b"{}",), f"id-{number}", cleared))
            await asyncio.sleep(0.05)
    assert endings == [Reply(200, OK), Reply(200, OK), Reply(200, OK, duplicate=True)]


async def test_the_same_answer_however_it_comes() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for cut in (0, 10, 0, -1, 0):
            await read_request(reader)
            for part in (answer()[:cut], answer()[cut:]):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01)
        await reader.read()

    async with server(serve) as url, transport_to(url, connections=1) as transport:
        endings = [await transport.send((b"{}",), f"id-{number}", cleared) for number in range(5)]
    assert endings == [Reply(200, OK)] * 5


async def test_a_cancelled_try_ends_at_once() -> None:
    async with server(scripted(close=False)) as url, transport_to(url, seconds=60) as transport:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await transport.send((b"{}",), "id", cleared)


async def test_a_host_that_does_not_accept_is_not_sent() -> None:
    """A full backlog: the handshake is never finished, and nothing was ever asked of anybody."""
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        async with transport_to(f"http://127.0.0.1:{deaf.getsockname()[1]}/start", seconds=0.2) as transport:
            ending = await transport.send((b"{}",), "id", cleared)
    assert isinstance(ending, NotSent)
    assert ending.error == "connect_timeout"


async def test_a_body_of_megabytes_arrives_whole() -> None:
    sizes: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            sizes.append(len((await read_request(reader)).partition(b"\r\n\r\n")[2]))
            writer.write(answer())

    attachment = b"x" * 5_000_000
    async with server(serve) as url, transport_to(url) as transport:
        for _ in range(2):
            assert await transport.send((b"{", attachment, b"}"), "id", cleared) == Reply(200, OK)
    assert sizes == [5_000_002, 5_000_002]


async def test_an_answer_that_comes_before_the_body_was_read() -> None:
    """The rest of the body must not be taken for the next request."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"too large", "413 Payload Too Large"))
        await writer.drain()
        await asyncio.sleep(0.2)

    async with server(serve) as url, transport_to(url) as transport:
        for _ in range(2):
            ending = await transport.send((b"x" * 20_000_000,), "id", cleared)
            # A response that the reset of the connection removed: the body never arrived whole.
            assert isinstance(ending, Reply | NotSent)
            assert not isinstance(ending, Reply) or ending.status == 413
    assert connections == 2


@pytest.mark.parametrize(("aborts", "word"), [(True, "connection_lost"), (False, "timeout")])
@pytest.mark.parametrize("over_tls", [False, True])
async def test_a_request_whose_body_did_not_leave_whole_is_not_sent(
    aborts: bool, word: str, over_tls: bool
) -> None:
    """No endpoint does anything for a part of a body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        if aborts:
            writer.transport.abort()
        else:
            await asyncio.sleep(0.8)

    served = tls_server(serve) if over_tls else server(serve)
    context = trusting(AUTHORITY) if over_tls else None
    async with served as url, transport_to(url, seconds=0.5, context=context) as transport:
        ending = await transport.send((b"x" * 50_000_000,), "id", cleared)
    # aiohttp does not know how much of what it encrypted has left.
    knows = not (over_tls and tried is TRANSPORTS["aiohttp"])
    assert isinstance(ending, NotSent if knows else NotSent | Lost)
    assert ending.error == word


AUTHORITY = trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def tls_server(serve: Serve, name: str = "localhost", asks: bool = False) -> AsyncIterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(name).configure_cert(context)
    if asks:
        AUTHORITY.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    async with server(serve, context) as url:
        yield url.replace("http://127.0.0.1", "https://localhost")


async def send_over_tls(context: ssl.SSLContext, times: int = 1, **settings: Any) -> list[Ending]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer(OK * 2000))

    async with tls_server(serve, **settings) as url:
        transport = tried(Destination(url, {}, 5, context), 4)
        try:
            return [await transport.send((b"{}" * 300_000,), "id", cleared) for _ in range(times)]
        finally:
            await transport.aclose()


async def test_tls_with_an_authority_of_ones_own() -> None:
    assert await send_over_tls(trusting(AUTHORITY), 3) == [Reply(200, OK * 2000)] * 3


@pytest.mark.parametrize(
    ("authority", "name"), [(trustme.CA(), "localhost"), (AUTHORITY, "elsewhere.example")]
)
async def test_a_certificate_that_does_not_verify_is_not_sent_to(authority: trustme.CA, name: str) -> None:
    (ending,) = await send_over_tls(trusting(authority), name=name)
    assert isinstance(ending, NotSent)
    assert ending.error == "tls"


async def test_a_server_that_asks_for_a_client_certificate() -> None:
    context = trusting(AUTHORITY)
    AUTHORITY.issue_cert("client.example").configure_cert(context)
    assert await send_over_tls(context, asks=True) == [Reply(200, OK * 2000)]


async def test_a_server_that_speaks_no_tls_is_not_sent_to() -> None:
    async with server(scripted(answer())) as url:
        transport = tried(Destination(url.replace("http", "https"), {}, 1, None), 4)
        ending = await transport.send((b"{}",), "id", cleared)
        await transport.aclose()
    assert isinstance(ending, NotSent)


async def test_a_connection_that_the_server_closed_at_rest_is_not_used() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_request(reader)
        writer.write(answer())

    async with server(serve) as url, transport_to(url) as transport:
        for _ in range(3):
            assert await transport.send((b"{}",), "id", cleared) == Reply(200, OK)
            await asyncio.sleep(0.05)
    assert connections == 3
