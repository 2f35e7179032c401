"""A run takes commands from its owner only, and whatever is wrong with its socket does not end it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import engager
from engager import Event, Progressed, Summary
from engager.run.operator.control_socket import NAME, Commanded
from engager.run.prepare import Run, prepare


def job(folder: Path, rows: int = 400, **tables: Any) -> engager.JobFile:
    (folder / "people.csv").write_text("email\n" + "".join(f"p{n}@example.com\n" for n in range(rows)))
    given = {
        "job": {"name": "test"},
        "endpoint": {"url": "sandbox"},
        "input": {"path": "people.csv"},
        "request": {"id": 12, "email": "{email}"},
        "limits": {"rate": 100, "concurrency": 4},
        "output": {"report": False},
    }
    return engager.build_job({**given, **tables}, base=folder)


async def called(call: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """What another process would call, while the loop of this one runs the run."""
    return await asyncio.to_thread(call, *args)


@asynccontextmanager
async def running(
    run: engager.JobFile, out: Path, events: list[Event] | None = None
) -> AsyncIterator[asyncio.Task[Summary]]:
    """A run that sends; it is stopped at the end."""
    begun, control = asyncio.Event(), engager.Control()

    def watch(event: Event) -> None:
        if events is not None:
            events.append(event)
        if isinstance(event, Progressed):
            begun.set()

    task = asyncio.create_task(engager.run_async(run, out=out, watch=watch, control=control))
    await begun.wait()
    try:
        yield task
    finally:
        control.stop("the test is over")
        await task


async def test_a_run_is_paused_resumed_slowed_and_stopped(tmp_path: Path) -> None:
    out, events = tmp_path / "run", list[Event]()
    async with running(job(tmp_path), out, events) as task:
        assert set((await called(engager.pause, out))["holders"]) == {"operator"}
        assert (await called(engager.set_rate, out, 50))["rate"] == 50
        assert (await called(engager.resume, out))["holders"] == {}
        state = await called(engager.stop, out)
        summary = await task
    assert (state["stopping"], summary.exit_code, summary.complete) == (True, 3, False)
    assert state["snapshot"].keys() == engager.Snapshot.__annotations__.keys()
    log = (out / "engager.log").read_text()
    assert [word for word in ("pause:", "rate 50:", "resume:", "stop:") if word not in log] == []
    assert log.count(f"process {os.getpid()}") == 4


async def test_a_paused_run_sends_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    out, events = tmp_path / "run", list[Event]()
    async with running(job(tmp_path), out, events) as task:
        await called(engager.pause, out)
        seen = len(events)
        while len(events) < seen + 4:  # what was in flight has ended by the second snapshot
            await asyncio.sleep(0.01)
        last = [event.snapshot for event in events[-2:] if isinstance(event, Progressed)]
        assert last[0].rows == last[1].rows
        assert {*last[1].holders} == {"operator"}
        await called(engager.resume, out)
        await called(engager.set_rate, out, 100)
        while isinstance(event := events[-1], Progressed) and event.snapshot.rows == last[1].rows:
            await asyncio.sleep(0.01)
        assert not task.done()


@pytest.mark.parametrize(
    ("limits", "rate", "fact"),
    [
        ({"rate": 100}, 101, "limits.rate"),
        ({"rate": 100}, 0, "number"),
        ({"rate": 100}, float("nan"), "number"),
        ({"rate": "auto"}, 10, "auto"),
    ],
)
async def test_a_rate_that_the_job_does_not_allow_is_refused(
    tmp_path: Path, limits: dict[str, Any], rate: float, fact: str
) -> None:
    slow = {"latency": "50ms"}
    async with running(job(tmp_path, 2000, limits=limits, sandbox=slow), tmp_path / "run"):
        with pytest.raises(engager.RunDirectoryError, match=fact):
            await called(engager.set_rate, tmp_path / "run", rate)


async def test_the_socket_is_its_owner_s_and_is_gone_after_the_run(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with running(job(tmp_path), tmp_path / "run"):
            facts = os.lstat(tmp_path / "run" / NAME)
            assert (stat.S_ISSOCK(facts.st_mode), stat.S_IMODE(facts.st_mode)) == (True, 0o600)
    finally:
        os.umask(before)
    assert not (tmp_path / "run" / NAME).exists()
    with pytest.raises(engager.RunDirectoryError, match="not in progress"):
        await called(engager.pause, tmp_path / "run")


async def test_a_path_of_any_length(tmp_path: Path) -> None:
    out = tmp_path / ("a" * 120) / ("b" * 200)
    async with running(job(tmp_path), out):
        assert set((await called(engager.pause, out))["holders"]) == {"operator"}


@pytest.fixture
def prepared(tmp_path: Path) -> Run:
    run = prepare(job(tmp_path), tmp_path / "run", None)
    assert isinstance(run, Run)
    return run


def test_another_user_commands_nothing(prepared: Run) -> None:
    with prepared.resources:
        taking = Commanded(prepared)
        reply = taking.reply(b'{"do": "pause"}\n', os.geteuid() + 1, 1)
        assert ("error" in reply, prepared.control.holders) == (True, {})
        assert "error" not in taking.reply(b'{"do": "pause"}\n', os.geteuid(), 1)
        assert {*prepared.control.holders} == {"operator"}


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"1", b'{"do": "explode"}', b'{"do": "rate"}', b'{"do": "rate", "rate": {}}', b"\xff"],
)
def test_a_line_that_is_no_command_is_an_error(prepared: Run, line: bytes) -> None:
    with prepared.resources:
        reply = Commanded(prepared).reply(line, os.geteuid(), 1)
    assert {*reply} == {"error"}
    assert (prepared.control.holders, prepared.control.stopping.requested) == ({}, False)


async def test_whoever_says_nothing_or_too_much_does_not_keep_others_waiting(tmp_path: Path) -> None:
    out = tmp_path / "run"
    async with running(job(tmp_path), out):
        silent, endless = (socket.socket(socket.AF_UNIX) for _ in range(2))
        with silent, endless:
            for one in (silent, endless):
                one.connect(str(out / NAME))
            endless.sendall(b"x" * (1 << 13))
            assert set((await called(engager.pause, out))["holders"]) == {"operator"}
            endless.settimeout(10)
            assert "error" in json.loads(await asyncio.to_thread(endless.recv, 1 << 16))


async def test_what_a_killed_process_left_is_replaced_and_no_link_is_followed(tmp_path: Path) -> None:
    out, victim = tmp_path / "run", tmp_path / "victim"
    victim.write_text("precious")
    await engager.run_async(job(tmp_path), out=out, limit=1)
    control = out / NAME
    control.symlink_to(victim)
    async with running(job(tmp_path), out):
        assert stat.S_ISSOCK(os.lstat(control).st_mode)
    assert victim.read_text() == "precious"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(control))
    async with running(job(tmp_path), out):
        assert set((await called(engager.pause, out))["holders"]) == {"operator"}


async def test_a_command_follows_no_link(tmp_path: Path) -> None:
    other, out = tmp_path / "other", tmp_path / "run"
    (tmp_path / "b").mkdir()
    async with running(job(tmp_path), out), running(job(tmp_path / "b"), other) as another:
        (out / NAME).unlink()
        (out / NAME).symlink_to(other / NAME)
        with pytest.raises(engager.RunDirectoryError):
            await called(engager.stop, out)
        assert not another.done()
        assert (await called(engager.resume, other))["stopping"] is False


async def test_a_run_without_its_socket_is_told_so_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    async with running(job(tmp_path), out):
        (out / NAME).unlink()
        with pytest.raises(engager.RunDirectoryError, match="SIGTERM"):
            await called(engager.pause, out)
    (out / NAME).mkdir()  # the next process can make none
    async with running(job(tmp_path), out):
        with pytest.raises(engager.RunDirectoryError, match="not a socket"):
            await called(engager.pause, out)
    assert (out / NAME).is_dir()
    assert "takes no commands" in (out / "engager.log").read_text()
