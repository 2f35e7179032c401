"""The sandbox over real sockets: its responses, its log, and the form of each fault."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from engager.sandbox import Sandbox, SandboxConfig

BODY = b'{"token":"t","id":12,"email":"ann@x.org"}'
SUCCESS = {"data": None, "error": 0, "error_text": "Successful operation"}


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[tuple[Sandbox, aiohttp.ClientSession, str]]:
    config = SandboxConfig.from_mapping({"keep_log": True, **settings})
    timeout = aiohttp.ClientTimeout(total=5)
    async with Sandbox(config) as sandbox, aiohttp.ClientSession(timeout=timeout) as session:
        yield sandbox, session, f"{sandbox.url}/api/v1.1/workflows/start"


@pytest.mark.parametrize(
    ("fault", "header", "value"),
    [
        ("close", "Connection", "close"),
        ("chunked", "Transfer-Encoding", "chunked"),
        ("drip", "Content-Length", str(len(orjson.dumps(SUCCESS)))),
        ("503", "Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT"),
    ],
)
async def test_a_fault_shows_in_the_headers(fault: str, header: str, value: str) -> None:
    async with (
        served(faults={fault: 1.0}, retry_after="Wed, 21 Oct 2026 07:28:00 GMT") as (_, session, url),
        session.post(url, data=BODY) as response,
    ):
        assert response.headers[header] == value
        if fault != "503":
            assert orjson.loads(await response.read()) == SUCCESS


async def test_retry_after_may_be_absent() -> None:
    async with (
        served(faults={"429": 1.0}) as (_, session, url),
        session.post(url, data=BODY) as response,
    ):
        assert (response.status, "Retry-After" in response.headers) == (429, False)


async def test_faults_of_the_body_spoil_a_response() -> None:
    bodies = {}
    for fault in ("oversized", "bad_bytes", "empty"):
        async with (
            served(faults={fault: 1.0}) as (_, session, url),
            session.post(url, data=BODY) as response,
        ):
            bodies[fault] = await response.read()
    assert len(bodies["oversized"]) > 1_000_000
    assert bodies["empty"] == b""
    with pytest.raises(UnicodeDecodeError):
        bodies["bad_bytes"].decode()


async def test_a_drip_comes_in_pieces_and_may_be_aborted(caplog: pytest.LogCaptureFixture) -> None:
    async with served(faults={"drip": 1.0}) as (sandbox, session, url):
        async with session.post(url, data=BODY) as response:
            first = await response.content.readany()
            assert len(first) < len(orjson.dumps(SUCCESS))
        await asyncio.sleep(0.05)
        assert sandbox.log[0].effect
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_latency_delays_a_response() -> None:
    async with served(latency="60-80ms") as (_, session, url):
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with session.post(url, data=BODY) as response:
            assert response.status == 200
        assert loop.time() - began >= 0.055


async def test_a_large_body_is_accepted() -> None:
    file = {"name": "a", "data": "data:a/b;base64," + "A" * 8_000_000}
    body = orjson.dumps({"token": "t", "id": 1, "email": "ann@x.org", "attach": [file]})
    async with served() as (sandbox, session, url), session.post(url, data=io.BytesIO(body)) as response:
        assert response.status == 200
        assert sandbox.log[0].effect


@pytest.mark.parametrize("header", ["Request-ID", "X-Request-ID"])
async def test_the_log_has_a_line_for_every_request(tmp_path: Path, header: str) -> None:
    path = tmp_path / "log.jsonl"
    async with served(log_file=str(path)) as (sandbox, session, url):
        for _ in range(2):
            async with session.post(url, data=BODY, headers={header: "r"}) as response:
                await response.read()
        lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [(line["request_id"], line["effect"], line["duplicate"]) for line in lines] == [
        ("r", True, False),
        ("r", False, True),
    ]
    assert len(sandbox.log) == 2


async def test_the_log_has_each_row_of_a_batch(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{"email": f"{name}@x.org"} for name in ("ann", "b c", "cid")]
    body = orjson.dumps({"token": "t", "workflow_id": 1, "matching": "email", "data": rows})
    async with served(log_file=str(path)) as (sandbox, session, url):
        url = url.replace("start", "import_and_start_batch")
        for _ in range(2):
            async with session.post(url, data=body, headers={"Request-ID": "r"}) as response:
                await response.read()
        async with session.post(
            url.replace("import_and_start_batch", "list"), data=b'{"token":"t"}'
        ) as response:
            await response.read()
        assert sandbox.brain.effects == {"email=ann@x.org": 1, "email=cid@x.org": 1}
    first, repeat, listing = (orjson.loads(line) for line in path.read_bytes().splitlines())
    assert (first["rows"], first["key"], first["effect"], first["error"]) == (3, "", True, 0)
    assert first["keys"] == ["email=ann@x.org", "email=b c@x.org", "email=cid@x.org"]
    assert (first["effects"], first["errors"]) == ([True, False, True], [0, 400, 0])
    assert (repeat["effect"], repeat["effects"], repeat["keys"]) == (False, [False] * 3, first["keys"])
    assert repeat["errors"] == first["errors"]
    assert (listing["rows"], listing["keys"]) == (0, [])


async def test_a_log_entry_has_one_row_in_both_forms() -> None:
    async with served() as (sandbox, session, url), session.post(url, data=BODY):
        (entry,) = sandbox.log
    assert (entry.rows, entry.keys, entry.effects, entry.errors) == (1, (entry.key,), (True,), (0,))


async def test_a_reset_comes_before_the_end_of_the_body() -> None:
    async with served(faults={"reset_mid_body": 1.0}) as (sandbox, _, url):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].split("/")[0]))
        head = f"POST /api/v1.1/workflows/start HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
        writer.write(head.encode() + BODY[:10])
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
        with suppress(ConnectionResetError):
            await writer.wait_closed()
    (entry,) = sandbox.log
    assert (entry.fault, entry.rows, entry.effect, sandbox.brain.effects.total()) == (
        "reset_mid_body",
        0,
        False,
        0,
    )


async def test_the_sandbox_does_not_start_without_its_log(tmp_path: Path) -> None:
    sandbox = Sandbox(SandboxConfig(log_file=str(tmp_path / "none" / "log")))
    with pytest.raises(FileNotFoundError):
        await sandbox.__aenter__()
    assert sandbox.url == ""


@pytest.mark.parametrize(("refuses", "second"), [(True, 409), (False, 200)])
async def test_a_repeat_in_flight_is_refused_by_assumption(refuses: bool, second: int) -> None:
    async with served(latency="50ms", assumptions={"refuse_in_flight": refuses}) as (sandbox, session, url):

        async def post() -> int:
            async with session.post(url, data=BODY, headers={"Request-ID": "one"}) as response:
                return response.status

        assert sorted(await asyncio.gather(post(), post())) == [200, second]
        assert sandbox.brain.effects.total() == 1
        assert await post() == 200
