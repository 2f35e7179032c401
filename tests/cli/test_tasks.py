"""`engager status --tasks` as its user sees it, at endpoints that answer as documented and otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from engager import Status, load_job
from tests.run.accepted_rows import accept_in

TOKEN = "t0ken-that-nobody-may-see"
Answer = Callable[[dict[str, Any]], web.StreamResponse]

#: The connection is reset instead of this answer.
DROPPED = web.Response()

THREE = {
    "a1": {"status": "completed", "progress": 100, "result": {"errors": 3, "total": 1500}},
    "b2": {"status": "in_progress", "progress": 40, "result": None},
}


def said(data: Any, error: int = 0, text: str = "Successful operation", status: int = 200) -> web.Response:
    return web.json_response({"data": data, "error": error, "error_text": text}, status=status)


def documented(asked: dict[str, Any]) -> web.Response:
    if asked.get("token") != TOKEN:
        return said(None, 401, "Token required")
    task = THREE.get(asked["task_id"])
    return said(task) if task else said(None, 404, "Task not found")


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A platform that knows this method only, and the requests that came."""
    asked: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append({"path": request.path, "id": request.headers["Request-ID"], **await request.json()})
        if (found := answer(asked[-1])) is DROPPED:
            assert request.transport is not None
            request.transport.abort()
        return found

    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


@pytest.fixture
async def accepted(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes a run whose rows have these references, at an endpoint."""
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", TOKEN)

    async def make(url: str, *references: str | None, job: str = "") -> Any:
        b = await bench(len(references))
        b.write_job(job, url=url)
        await accept_in(load_job(b.path / "job.toml"), b.path / "runs/test", list(references))
        return b

    return make


@pytest.mark.parametrize("results", ["jsonl", "csv"])
async def test_every_task_is_asked_for_once(accepted: Any, results: str) -> None:
    async with serving(documented) as (url, asked):
        b = await accepted(url, "a1", "b2", "a1", None, "a1", job=f'[output]\nresults = "{results}"')
        ended = await b.engager("status", "runs/test", "--tasks", "--output", "json")
        assert (ended.code, ended.err) == (0, "")
        seen = json.loads(ended.out)
        assert seen["statuses"]["accepted"] == 5
        known = {"status": "completed", "progress": 100, "errors": 3, "total": 1500, "problem": None}
        under_way = {"status": "in_progress", "progress": 40, "errors": None, "total": None, "problem": None}
        assert seen["tasks"] == [
            {"task": "a1", "rows": 3, **known},
            {"task": "b2", "rows": 1, **under_way},
        ]
        assert [(one["path"], one["task_id"]) for one in asked] == [
            ("/api/v1.1/tasks/status", "a1"),
            ("/api/v1.1/tasks/status", "b2"),
        ]
        assert len({one["id"] for one in asked}) == 2


async def test_tasks_in_a_table(accepted: Any) -> None:
    async with serving(documented) as (url, _):
        b = await accepted(url, "a1", "b2", "gone\x1b[2J")
        ended = await b.engager("status", "runs/test", "--tasks")
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.splitlines()[-4:] == [
            "task      rows  progress  errors  total  status",
            "a1           1       100       3  1,500  completed",
            "b2           1        40       –      –  in_progress",
            "gone [2J     1         –       –      –  error 404: Task not found",
        ]


OTHERWISE: dict[str, Answer] = {
    "no status": lambda _: said(None),
    "another form": lambda _: said([{"status": "completed"}]),
    "not JSON": lambda _: web.Response(text="OK"),
    "nothing": lambda _: web.Response(),
    "no such method": lambda _: web.Response(status=404, text="<h1>404 page not found</h1>"),
    "a sign-in page": lambda _: web.Response(text="<html>Sign in</html>", content_type="text/html"),
    "a gateway": lambda _: web.Response(status=502, text="Bad Gateway"),
    "long": lambda _: said({"status": "x" * 2_000_000}),
    "XML": lambda _: web.Response(text="<xml><error>0</error><data><status>new</status></data></xml>"),
}


@pytest.mark.parametrize("answer", OTHERWISE.values(), ids=list(OTHERWISE))
async def test_an_endpoint_that_answers_otherwise(accepted: Any, answer: Answer) -> None:
    async with serving(answer) as (url, _):
        b = await accepted(url, "a1", "b2")
        ended = await b.engager("status", "runs/test", "--tasks", "--output", "json")
        assert (ended.code, ended.err) == (0, "")
        found = json.loads(ended.out)["tasks"]
        assert [(one["task"], one["rows"], one["status"]) for one in found] == [
            ("a1", 1, None),
            ("b2", 1, None),
        ]
        assert all("unknown answer" in one["problem"] for one in found)
        shown = await b.engager("status", "runs/test", "--tasks")
        assert (shown.code, shown.out.count("unknown answer")) == (0, 2)


MOMENTARY: dict[str, Callable[[], web.StreamResponse]] = {
    "429 of the endpoint": lambda: said(None, 429, "Too many requests"),
    "503 of the endpoint": lambda: said(None, 503, "Try later", 503),
    "503 of a gateway": lambda: web.Response(status=503, text="Service Unavailable"),
    "lost": lambda: DROPPED,
}


@pytest.mark.parametrize("answer", MOMENTARY.values(), ids=list(MOMENTARY))
async def test_a_task_is_asked_for_again_if_the_answer_speaks_of_that_moment_only(
    accepted: Any, answer: Callable[[], web.StreamResponse]
) -> None:
    async with serving(lambda asked: answer() if len(before) == 1 else documented(asked)) as (url, before):
        b = await accepted(url, "a1", "b2")
        ended = await b.engager("status", "runs/test", "--tasks", "--output", "json")
        found = [(one["task"], one["status"]) for one in json.loads(ended.out)["tasks"]]
        assert (ended.code, found) == (0, [("a1", "completed"), ("b2", "in_progress")])
        assert [one["task_id"] for one in before] == ["a1", "a1", "b2"]
        assert len({one["id"] for one in before}) == 3


async def test_a_task_without_an_answer_is_shown_beside_the_others(accepted: Any) -> None:
    def answer(asked: dict[str, Any]) -> web.StreamResponse:
        return DROPPED if asked["task_id"] == "a1" else documented(asked)

    async with serving(answer) as (url, asked):
        b = await accepted(url, "a1", "b2")
        ended = await b.engager("status", "runs/test", "--tasks", "--output", "json")
        lost, known = json.loads(ended.out)["tasks"]
        assert (ended.code, lost["status"], known["status"]) == (0, None, "in_progress")
        assert lost["problem"].startswith("no answer")
        assert [one["task_id"] for one in asked].count("a1") > 1


async def test_an_answer_with_the_token_does_not_show_it(accepted: Any) -> None:
    def answer(asked: dict[str, Any]) -> web.Response:
        return said({"status": TOKEN}) if asked["task_id"] == "a1" else said(None, 404, "x" * 480 + TOKEN)

    async with serving(answer) as (url, _):
        b = await accepted(url, "a1", "b2")
        for form in ("text", "json"):
            ended = await b.engager("status", "runs/test", "--tasks", "--output", form)
            assert ended.code == 0
            assert TOKEN[:8] not in ended.out + ended.err


async def test_a_refused_token_is_an_error_for_the_operator(accepted: Any) -> None:
    async with serving(lambda _: said(None, 401, "Token required")) as (url, asked):
        b = await accepted(url, "a1", "b2")
        ended = await b.engager("status", "runs/test", "--tasks")
        assert (ended.code, len(asked)) == (2, 1)
        assert "tasks/status" in ended.err
        assert "Traceback" not in ended.err
        assert ended.out.startswith("stopped: 2 rows settled")


async def test_an_endpoint_that_is_away_is_an_error_for_the_operator(accepted: Any) -> None:
    async with serving(documented) as (url, _):
        b = await accepted(url, "a1")
    ended = await b.engager("status", "runs/test", "--tasks")
    assert ended.code == 3
    assert "tasks/status" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("reference", ["a1", None])
async def test_the_end_of_a_run_leads_to_its_tasks(accepted: Any, reference: str | None) -> None:
    b = await accepted("sandbox", reference, reference)
    ended = await b.engager("run", "job.toml")
    assert (ended.code, b.summary()["statuses"]["accepted"]) == (0, 2)
    printed = re.search(r"engager status \S+/runs/test --tasks", ended.out)
    assert (printed is not None) == (reference is not None)


async def test_the_profile_of_an_engaged_row_is_no_task(accepted: Any) -> None:
    async with serving(documented) as (url, asked):
        b = await accepted(url, "a1")
        job = load_job(b.path / "job.toml")
        await accept_in(job, b.path / "runs/profiles", ["5f5a"], Status.ENGAGED)
        ended = await b.engager("status", "runs/profiles", "--tasks", "--output", "json")
        assert (ended.code, json.loads(ended.out)["tasks"], asked) == (0, [], [])


async def test_a_run_without_tasks_asks_nothing(bench: Any) -> None:
    b = await bench(2)
    assert (await b.engager("run", "job.toml")).code == 0
    requests = len(b.sandbox.log)
    seen = json.loads((await b.engager("status", "runs/test", "--tasks", "--output", "json")).out)
    assert seen["tasks"] == []
    assert (await b.engager("status", "runs/test", "--tasks")).code == 0
    assert "tasks" not in json.loads((await b.engager("status", "runs/test", "--output", "json")).out)
    assert len(b.sandbox.log) == requests


async def test_tasks_of_the_embedded_sandbox_ended_with_it(accepted: Any) -> None:
    b = await accepted("sandbox", "a1")
    ended = await b.engager("status", "runs/test", "--tasks")
    assert ended.code == 2
    assert "sandbox" in ended.err


async def test_the_job_is_asked_with_as_the_operator_says(accepted: Any) -> None:
    async with serving(documented) as (old, before), serving(documented) as (new, asked):
        b = await accepted(old, "a1")
        ended = await b.engager("status", "runs/test", "--tasks", "--set", f"endpoint.url={new}")
        assert (ended.code, len(before), len(asked)) == (0, 0, 1)
    assert (await b.engager("status", "runs/test", "--set", "limits.rate=1")).code == 2


async def test_a_run_that_leads_elsewhere_than_its_job_asks_only_where_the_operator_says(
    accepted: Any,
) -> None:
    """Another user may have made the run directory: the token must not go where only that leads."""
    async with serving(documented) as (url, asked), serving(documented) as (other, elsewhere):
        b = await accepted(url, "a1")
        begun = json.loads((b.path / "runs/test/run.json").read_text())
        begun["invocation"]["overrides"] = [f"endpoint.url={other}"]
        (b.path / "runs/test/run.json").write_text(json.dumps(begun))
        ended = await b.engager("status", "runs/test", "--tasks")
        assert (ended.code, asked, elsewhere) == (2, [], [])
        command = f"engager status runs/test --tasks --set endpoint.url={other}"
        assert command in ended.err
        assert (await b.engager(*command.split()[1:])).code == 0
        assert len(elsewhere) == 1
