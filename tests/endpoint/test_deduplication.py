"""What two answers under one Request-ID prove, and what they leave open."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from engager.endpoint import deduplication
from engager.endpoint.deduplication import (
    UNKNOWN_PROFILE,
    Deduplication,
    RepeatedRequest,
    list_twice,
    proof_of,
    refuse_without_deduplication,
    start_twice,
)
from engager.errors import Exit
from engager.models import Ending, Lost, NotSent, Reply, Withheld
from engager.policies.rate import Pace
from engager.requests.builder import RequestSpec
from engager.sandbox import Sandbox, SandboxConfig
from engager.sending.stop import Stop
from engager.sending.transport.base import Admission, Destination, is_admitted


def said(error: int, duplicate: bool = False, status: int = 200) -> Reply:
    return Reply(status, b'{"data":null,"error":%d,"error_text":"so"}' % error, duplicate=duplicate)


LOST = Lost("timeout", "no answer")
PLAIN = RepeatedRequest(said(0), said(0))
MARKED = RepeatedRequest(said(0), said(0, duplicate=True))
HTML = Reply(200, b"<html>welcome</html>")


@pytest.mark.parametrize(
    ("first", "second", "listing", "answer"),
    [
        (said(0), said(0, True), PLAIN, Deduplication.YES),
        (said(400), said(400, True), PLAIN, Deduplication.YES),
        (said(503), said(503, True), PLAIN, Deduplication.YES),
        (said(400), said(400), MARKED, Deduplication.YES),
        (LOST, Withheld(), MARKED, Deduplication.YES),
        (said(0), said(0), PLAIN, Deduplication.NO),
        (said(0), said(0), MARKED, Deduplication.NO),  # of the two methods, this one is what counts
        (
            said(0),
            said(400),
            PLAIN,
            Deduplication.NO,
        ),  # a success that was remembered would have been repeated
        (said(0, True), said(0, True), MARKED, Deduplication.SWALLOWS),
        (said(400, True), said(400, True), PLAIN, Deduplication.SWALLOWS),
        (said(400), said(400), PLAIN, Deduplication.UNKNOWN),
        (said(400), said(0), PLAIN, Deduplication.UNKNOWN),
        (said(0), said(503), PLAIN, Deduplication.UNKNOWN),
        (said(0), said(400, status=500), PLAIN, Deduplication.UNKNOWN),
        (
            said(0),
            Reply(404, b"no such page"),
            PLAIN,
            Deduplication.UNKNOWN,
        ),  # a gateway's word proves nothing
        (said(0), LOST, PLAIN, Deduplication.UNKNOWN),
        (HTML, HTML, PLAIN, Deduplication.UNKNOWN),
        (NotSent("connect_failed", "refused"), Withheld(), PLAIN, Deduplication.UNKNOWN),
        (said(400), said(400), RepeatedRequest(said(0, True), said(0, True)), Deduplication.UNKNOWN),
    ],
)
def test_what_is_proved(
    first: Ending, second: Ending, listing: RepeatedRequest, answer: Deduplication
) -> None:
    proof = proof_of(RepeatedRequest(first, second), listing)
    assert proof.answer is answer
    assert proof.seen
    assert bool(proof.advice) == (answer is not Deduplication.YES)


def spec(**changes: Any) -> RequestSpec:
    given: dict[str, Any] = {"parameters": {"id": 12, "email": "{email}"}, "token": "t0ken", **changes}
    return RequestSpec(base=None, **given)  # type: ignore[arg-type]


def destination_of(sandbox: Sandbox) -> Destination:
    return Destination(f"{sandbox.url}/api/v1.1/workflows/start", {}, 5)


def endpoint(**settings: Any) -> Sandbox:
    return Sandbox(SandboxConfig.from_mapping({"keep_log": True, **settings}))


async def always() -> bool:
    return True


@pytest.mark.parametrize("settings", [{}, {"wire": "xml", "answer": "xml"}, {"answer": "csv"}])
async def test_no_profile_id_is_used_twice(settings: dict[str, Any]) -> None:
    async with endpoint(profiles=[], tokens=["t0ken"]) as sandbox:
        start = await start_twice(destination_of(sandbox), spec(**settings), always)
        listing = await list_twice(destination_of(sandbox), spec(**settings), always)
    assert proof_of(start, listing).answer is Deduplication.YES
    log = sandbox.log
    assert [entry.error for entry in log] == [400, 400, 0, 0]
    assert log[0].key.startswith(f"profile_id={UNKNOWN_PROFILE}")
    assert len({entry.request_id for entry in log}) == 2
    assert sandbox.brain.effects.total() == 0


@pytest.mark.parametrize(
    ("assumed", "profiles", "answer"),
    [
        ({}, [], Deduplication.YES),
        ({}, None, Deduplication.YES),
        ({"old_headers": True}, [], Deduplication.YES),
        ({"errors_as_status": True}, [], Deduplication.YES),
        ({"replay_errors": False}, [], Deduplication.YES),
        ({"deduplicate": False}, [], Deduplication.UNKNOWN),
        ({"deduplicate": False}, None, Deduplication.NO),
    ],
)
async def test_every_kind_of_endpoint(assumed: dict[str, Any], profiles: Any, answer: Deduplication) -> None:
    async with endpoint(profiles=profiles, assumptions=assumed) as sandbox:
        start = await start_twice(destination_of(sandbox), spec(), always)
        listing = await list_twice(destination_of(sandbox), spec(), always)
    assert proof_of(start, listing).answer is answer


async def test_a_scenario_that_the_rows_name_is_not_guessed() -> None:
    async with endpoint(scenarios=[{"id": 1}, {"id": 12}]) as sandbox:
        start = await start_twice(destination_of(sandbox), spec(parameters={"id": "{scenario:int}"}), always)
    assert isinstance(start.first, Reply)
    assert b"Workflow not found" in start.first.body


@pytest.mark.parametrize(
    ("method", "rows"),
    [("import_and_start", 1), ("import_and_start_batch", 2), ("import_and_start_batch_task", 2)],
)
async def test_an_import_is_tested_by_its_own_method_without_importing_anybody(
    method: str, rows: int
) -> None:
    parameters = {"method": method, "workflow_id": 12, "email": "{email}"}
    async with endpoint(profiles=[], tokens=["t0ken"]) as sandbox:
        there = Destination(f"{sandbox.url}/api/v1.1/workflows/{method}", {}, 5)
        start = await start_twice(there, spec(parameters=parameters), always)
        listing = await list_twice(there, spec(parameters=parameters), always)
    assert proof_of(start, listing).answer is Deduplication.YES
    entry = sandbox.log[0]
    keys = entry.keys or [entry.key]
    assert [key.startswith(f"profile_id={UNKNOWN_PROFILE}") for key in keys] == [True] * rows
    assert sandbox.brain.effects.total() == 0


async def test_silence_is_waited_for_once() -> None:
    async with endpoint(faults={"reset_before": 1.0}) as sandbox:
        start = await start_twice(destination_of(sandbox), spec(), always)
    assert isinstance(start.first, Lost)
    assert start.second == Withheld()
    assert len(sandbox.log) == 1


async def test_a_listing_is_asked_for_in_json_whatever_the_job_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    async def twice(*args: Any) -> RepeatedRequest:
        seen.extend(args)
        return PLAIN

    monkeypatch.setattr(deduplication, "_twice", twice)
    headers = {"Content-Type": "application/xml; charset=utf-8", "User-Agent": "engager"}
    start = Destination("https://x.org/api/v1.1/workflows/start", headers, 5)
    await list_twice(start, spec(wire="xml", answer="xml"), always)
    assert seen[0].url == "https://x.org/api/v1.1/workflows/list"
    assert seen[0].headers == {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "engager",
    }
    assert seen[1] == (b'{"token":"t0ken","from_id":12,"limit":100}',)


async def test_a_run_that_is_to_end_asks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with endpoint(assumptions={"deduplicate": False}) as sandbox:
        stop = Stop()
        stop.request(Exit.INTERRUPTED, "interrupted by SIGINT")
        await refuse_without_deduplication(destination_of(sandbox), spec(), None, stop)
    assert sandbox.log == []
    assert stop.exit is Exit.INTERRUPTED
    assert caplog.messages == []


@pytest.mark.virtual_time
async def test_what_is_asked_counts_for_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sliding second holds more than the rate, with what was asked and with the first rows."""
    left: list[float] = []

    async def twice(destination: Any, given: Any, admission: Admission) -> RepeatedRequest:
        for _ in range(2):
            assert await is_admitted(admission)
            left.append(asyncio.get_running_loop().time())
        return MARKED

    monkeypatch.setattr(deduplication, "start_twice", twice)
    monkeypatch.setattr(deduplication, "list_twice", twice)
    await refuse_without_deduplication(Destination("http://x", {}, 5), spec(), Pace(1), Stop())
    left.append(asyncio.get_running_loop().time())  # a row could leave now
    assert all(later - earlier >= 1 for earlier, later in pairwise(left))
    assert len(left) == 5
