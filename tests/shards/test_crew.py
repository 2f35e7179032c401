"""What the keeper of the book says to its processes. The test plays the processes, in virtual time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from engager.adaptation import Adaptive
from engager.dispatch.limits import Stop
from engager.plan import Plan
from engager.policy import Delivery, Pace, Retry
from engager.shards.crew import Crew, share_of
from engager.shards.messages import Line, Message


class Process:
    """One that ends when it is told to."""

    exitcode = 0

    def join(self, timeout: float) -> None: ...

    def kill(self) -> None: ...


def plan_at(rate: float | None) -> Plan:
    return Plan(8, None if rate is None else Pace(rate), Retry(), Delivery(), Adaptive())


@asynccontextmanager
async def played(crew: Crew, parts: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Line]]:
    """The processes' ends of the lines, while the crew is at work."""
    pairs = [socket.socketpair() for _ in range(parts)]
    monkeypatch.setattr(Crew, "_start", lambda crew, tasks: [(Process(), ours) for ours, _ in pairs])
    lines = [Line(*await asyncio.open_connection(sock=theirs)) for _, theirs in pairs]
    work = asyncio.create_task(crew.carry_out([None] * parts))  # type: ignore[list-item]
    try:
        yield lines
    finally:
        for line in lines:
            line.say("done", rest=0, fault=None)
            line.close()
        await work


async def heard(line: Line) -> tuple[str, Any]:
    message = await line.hear()
    assert isinstance(message, Message)
    return message.kind, message.facts


def share(rate: float) -> tuple[str, dict[str, float]]:
    return "share", {"rate": rate}


BEGIN: tuple[str, dict[str, Any]] = ("begin", {})


@pytest.mark.virtual_time
async def test_no_process_begins_before_it_knows_what_holds_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew(None, plan_at(None), Stop())  # type: ignore[arg-type]
    crew.hold("window")
    crew.set_rate(2)
    async with played(crew, 2, monkeypatch) as lines:
        hold = ("hold", {"holder": "window"})
        assert [[await heard(line) for _ in range(3)] for line in lines] == [[hold, share(1), BEGIN]] * 2


@pytest.mark.virtual_time
async def test_a_rate_below_the_number_of_processes_goes_from_one_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew = Crew(None, plan_at(400), Stop())  # type: ignore[arg-type]
    async with played(crew, 3, monkeypatch) as lines:
        assert [await heard(line) for line in lines] == [BEGIN] * 3
        crew.set_rate(0.5)
        assert [await heard(line) for line in lines] == [share(0.5), share(0), share(0)]
        crew.set_rate(2)
        assert [await heard(line) for line in lines] == [share(1), share(1), share(0)]
        lines[0].say("done", rest=0, fault=None)
        lines.pop(0).close()
        assert [await heard(line) for line in lines] == [share(1), share(1)]


@pytest.mark.virtual_time
async def test_a_rate_that_was_asked_for_before_they_listened_is_shared_out_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew = Crew(None, plan_at(None), Stop())  # type: ignore[arg-type]
    crew.set_rate(1)
    async with played(crew, 2, monkeypatch) as lines:
        assert [await heard(line) for line in lines] == [share(1), share(0)]


async def test_a_run_ends_with_its_last_process_and_not_when_its_share_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Stop, "sleep", lambda stop, seconds: anyio.sleep_forever())
    crew = Crew(None, plan_at(400), Stop())  # type: ignore[arg-type]
    async with asyncio.timeout(5), played(crew, 2, monkeypatch) as lines:
        assert [await heard(line) for line in lines] == [BEGIN] * 2


def test_a_low_rate_of_the_job_is_shared_out_in_the_same_way() -> None:
    """A run that goes on keeps its processes, at whatever rate."""
    paces = [share_of(plan_at(1), index, 3).pace for index in range(3)]
    assert paces == [Pace(1), Pace(0), Pace(0)]
