"""A listing of many pages, and a switch whose answer says less than what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from engager.altcraft.scenarios import PAGE, Scenario, read_listing
from engager.config.job import JobFile
from engager.endpoint.scenarios import Platform, SwitchResult, list_all, platform_of, switch
from engager.errors import EndpointError, Exit
from engager.models import Lost, Reply
from engager.sandbox import Sandbox, SandboxConfig
from engager.sending.transport.base import MAX_ANSWER
from tests.wire.raw import listening

Asked = list[tuple[str, dict[str, Any]]]


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", "t0ken")


@asynccontextmanager
async def platform_at(url: str, **endpoint: Any) -> AsyncIterator[Platform]:
    tables = {
        "job": {"name": "test"},
        "endpoint": {"url": url, "token": "env:ENGAGER_TEST_TOKEN", **endpoint},
        "input": {"path": "-"},
        "request": {"id": 12, "email": "{email}"},
    }
    async with platform_of(JobFile.from_tables(tables, Path())) as platform:
        yield platform


@asynccontextmanager
async def serving(answer: Callable[[str, dict[str, Any]], bytes]) -> AsyncIterator[tuple[str, Asked]]:
    """A server that has a body for every method and its parameters, and the requests that came."""
    asked: Asked = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            method = head.split()[1].decode().rpartition("/")[2]
            asked.append((method, orjson.loads(await reader.readexactly(length))))
            body = answer(*asked[-1])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with listening(handle) as port:
        yield f"http://127.0.0.1:{port}", asked


def said(data: Any) -> bytes:
    return orjson.dumps({"data": data, "error": 0, "error_text": "Successful operation"})


@pytest.mark.parametrize("auth", ["body", "bearer"])
async def test_every_page_is_read(auth: str) -> None:
    scenarios = [
        {"id": number, "name": f"s{number}", "active": number % 2 == 0} for number in range(3, 700, 3)
    ]
    config = SandboxConfig.from_mapping({"scenarios": scenarios, "tokens": ["t0ken"], "keep_log": True})
    async with Sandbox(config) as sandbox, platform_at(sandbox.url, auth=auth) as platform:
        found = await list_all(platform)
    assert [(item.id, item.active) for item in found] == [(s["id"], s["active"]) for s in scenarios]
    assert len({entry.request_id for entry in sandbox.log}) == len(sandbox.log) == 233 // PAGE + 2


async def test_a_page_is_asked_for_again_where_it_was_too_long_to_be_read() -> None:
    """A scenario comes with all its nodes."""

    def answer(method: str, asked: dict[str, Any]) -> bytes:
        numbers = range(asked["from_id"], min(asked["from_id"] + asked["limit"], 41))
        return said(
            [{"id": number, "is_active": True, "nodes": "x" * (MAX_ANSWER // 30)} for number in numbers]
        )

    async with serving(answer) as (url, _), platform_at(url) as platform:
        assert [item.id for item in await list_all(platform)] == list(range(1, 41))


async def test_an_endpoint_that_always_begins_at_the_first_one_comes_to_an_end() -> None:
    async with serving(lambda *_: said([{"id": 1}, {"id": 2}])) as (url, asked), platform_at(url) as platform:
        assert [item.id for item in await list_all(platform)] == [1, 2]
    assert len(asked) == 2


def consents(before: Scenario | None) -> bool:
    return True


class Shown:
    """An endpoint whose switch answers in one way and does what it likes."""

    def __init__(self, answer: bytes, obeys: bool, listed: bool = True) -> None:
        self.answer, self.obeys, self.listed, self.active = answer, obeys, listed, False

    def __call__(self, method: str, asked: dict[str, Any]) -> bytes:
        if method == "list":
            return said([{"id": 12, "name": "x", "is_active": self.active}] if self.listed else [])
        self.active = self.active or self.obeys
        return self.answer


@pytest.mark.parametrize("answer", [said(None), b"<html>504</html>"])
async def test_what_a_scenario_is_afterwards_counts_more_than_the_answer(answer: bytes) -> None:
    async with serving(Shown(answer, obeys=True)) as (url, asked), platform_at(url) as platform:
        done = await switch(platform, 12, True, consents)
    assert done == SwitchResult(12, Scenario(12, "x", False), True, asked=True)
    assert [method for method, _ in asked] == ["list", "activate", "list"]


@pytest.mark.parametrize(
    ("endpoint", "code", "fact"),
    [
        (Shown(said(None), obeys=False), Exit.STOPPED, "scenario 12"),
        (Shown(b"<html>504</html>", obeys=False), Exit.STOPPED, "workflows/activate"),
        (Shown(b"<html>504</html>", obeys=True, listed=False), Exit.STOPPED, "workflows/activate"),
        (Shown(b'{"error": 403, "error_text": "No"}', obeys=False), Exit.WRONG, "403|rights"),
        (Shown(b'{"error": 400, "error_text": "Empty"}', obeys=False), Exit.WRONG, "400: Empty"),
    ],
)
async def test_a_scenario_that_is_not_as_it_was_to_be(endpoint: Shown, code: Exit, fact: str) -> None:
    async with serving(endpoint) as (url, _), platform_at(url) as platform:
        with pytest.raises(EndpointError, match=fact) as raised:
            await switch(platform, 12, True, consents)
    assert raised.value.exit is code


async def test_nothing_is_asked_for_without_consent() -> None:
    async with serving(Shown(said(None), obeys=True)) as (url, asked), platform_at(url) as platform:
        done = await switch(platform, 12, True, lambda before: False)
    assert (done.after, done.asked) == (False, False)
    assert [method for method, _ in asked] == ["list"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (said([{"id": 1, "name": "a", "is_active": True}]), [Scenario(1, "a", True)]),
        (said([{"id": "1", "name": None, "active": False}]), [Scenario(1, "", False)]),
        (said([{"id": 1, "is_active": "yes"}]), [Scenario(1, "", None)]),
        (said([]), []),
        (said(None), None),
        (said([1]), None),
        (said([{"id": "soon"}]), None),
        (said([{"id": "9" * 30}]), None),
        (said([{"id": -1}]), None),
        (b'{"error":0,"data":[{"id":1e308}]}', None),
        (said([{"name": "a"}]), None),
        (b"[]", None),
        (b"<xml/>", None),
    ],
)
def test_listings_of_whatever_form(body: bytes, found: list[Scenario] | None) -> None:
    assert read_listing(Reply(200, body)) == found
    assert read_listing(Lost("timeout", "")) is None
