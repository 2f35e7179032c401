"""Whole runs whose requests are sent by other processes of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import engager
from engager import Control, Event, Progressed
from engager.sandbox import Sandbox, SandboxConfig
from tests.wire.raw import PASS, Action, Arrival, serving

TOKEN = "t0ken-of-the-tests"


def a_job(folder: Path, url: str, rows: int = 60, **tables: Any) -> engager.JobFile:
    """A job with two processes, with its input."""
    (folder / "token").write_text(TOKEN)
    lines = "".join(f"p{n}@example.com\n" for n in range(rows))
    (folder / "people.csv").write_text(f"email\n{lines}")
    job: dict[str, Any] = {
        "job": {"name": "remote"},
        "endpoint": {"url": url} | ({} if url == "sandbox" else {"token": "file:token"}),
        "input": {"path": "people.csv"},
        "request": {"id": 12, "email": "{email}"},
        "limits": {"processes": 2, "concurrency": 16},
        "output": {"report": False},
    }
    for name, table in tables.items():
        job[name] = job.get(name, {}) | table
    return engager.build_job(job, base=folder)


@asynccontextmanager
async def sandbox(**config: Any) -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxConfig.from_mapping({"keep_log": True, **config})) as opened:
        yield opened


def children() -> set[int]:
    """The processes that this one has started and not waited for."""
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(number) for file in found for number in file.read_text().split()}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def senders_of(before: set[int], number: int = 2) -> list[int]:
    """The sender processes, as soon as there are so many."""
    async with asyncio.timeout(60):
        while len(found := children() - before) < number:
            await asyncio.sleep(0.02)
    return sorted(found)


def after(rows: int, call: Callable[[], object]) -> Callable[[Event], None]:
    """Call it once, when so many rows have an outcome."""
    called: list[object] = []

    def watch(event: Event) -> None:
        if isinstance(event, Progressed) and event.snapshot.rows >= rows and not called:
            called.append(call())

    return watch


@pytest.mark.parametrize("endpoint", [{"format": "json"}, {"format": "xml"}, {"auth": "bearer"}])
async def test_the_results_are_those_of_one_process(endpoint: dict[str, Any], tmp_path: Path) -> None:
    """And nothing of the senders remains, nor is the place of the token seen by anybody."""
    results: list[list[tuple[Any, ...]]] = []
    async with sandbox(profiles=[]) as opened:
        before = children(), descriptors()
        for processes in (1, 2):
            out = tmp_path / str(processes)
            job = a_job(tmp_path, opened.url, endpoint=endpoint, limits={"processes": processes})
            summary = await engager.run_async(job, out=out)
            assert summary.complete
            results.append(sorted((o.row, o.key, o.status, o.error) for o in engager.outcomes(out)))
            written = b"".join(file.read_bytes() for file in out.iterdir() if file.is_file())
            assert b"engager-token" not in written
            assert TOKEN.encode() not in written
            assert summary.as_dict()["requests"] == len(opened.log) - 60 * (processes - 1)
        assert results[0] == results[1]
        assert children() == before[0]
        assert descriptors() <= before[1] + 2  # of idle connections of the sandbox


def test_the_embedded_sandbox_is_reached_without_a_token(tmp_path: Path) -> None:
    summary = engager.run(a_job(tmp_path, "sandbox"), out=tmp_path / "run")
    assert (summary.exit_code, summary.statuses["engaged"]) == (0, 60)


async def test_the_rate_is_kept_by_all_senders_together(tmp_path: Path) -> None:
    async with sandbox() as opened:
        summary = await engager.run_async(
            a_job(tmp_path, opened.url, 240, limits={"rate": 60}), out=tmp_path / "run"
        )
        assert summary.exit_code == 0
        times = [entry.arrived for entry in opened.log]
        assert len(times) == 240
        # A busy endpoint does not read a request when it arrives, so that no single second judges this.
        assert times[-1] - times[0] > 0.9 * 240 / 60


async def test_a_killed_sender_is_replaced_and_no_fault_of_the_endpoint(tmp_path: Path) -> None:
    before = children()
    killed: list[int] = []

    def kill() -> None:
        killed.append(min(children() - before))
        os.kill(killed[0], signal.SIGKILL)

    async with serving() as endpoint:
        job = a_job(
            tmp_path, endpoint.url, 400, limits={"rate": 80}, breaker={"failures": 3}, retry={"attempts": 2}
        )
        summary = await engager.run_async(job, out=tmp_path / "run", watch=after(40, kill))
        assert killed
        assert (summary.exit_code, summary.statuses["engaged"]) == (0, 400)
        assert set(endpoint.effects.values()) == {1}
        assert children() == before


async def test_at_most_once_has_doubt_only_of_what_the_killed_sender_had(tmp_path: Path) -> None:
    before = children()
    async with serving() as endpoint:
        job = a_job(tmp_path, endpoint.url, 300, limits={"rate": 80}, delivery={"mode": "at-most-once"})
        watch = after(40, lambda: os.kill(min(children() - before), signal.SIGKILL))
        summary = await engager.run_async(job, out=tmp_path / "run", watch=watch)
        outcomes = list(engager.outcomes(tmp_path / "run"))
        doubts = [one for one in outcomes if one.status is engager.Status.IN_DOUBT]
        assert len(outcomes) == 300
        assert len(doubts) <= 16
        assert {one.error for one in doubts} <= {"sender_lost"}
        assert summary.statuses["engaged"] == 300 - len(doubts)
        assert set(endpoint.effects.values()) == {1}


async def test_an_outage_opens_the_circuit_and_a_probe_closes_it(tmp_path: Path) -> None:
    def gateway(arrival: Arrival) -> Action:
        down = 20 < arrival.number <= 60
        return Action(processed=False, status=502) if down else PASS

    async with serving(gateway) as endpoint:
        job = a_job(
            tmp_path,
            endpoint.url,
            breaker={"failures": 5, "pause": 0.2, "longest_pause": 0.2},
            retry={"attempts": 40, "base_delay": 0.05, "max_delay": 0.1},
        )
        async with asyncio.timeout(90):
            summary = await engager.run_async(job, out=tmp_path / "run")
        assert (summary.exit_code, summary.statuses["engaged"]) == (0, 60)
        assert set(endpoint.effects.values()) == {1}


async def test_a_pause_that_the_endpoint_asks_for_holds_for_all(tmp_path: Path) -> None:
    moments: list[float] = []

    def gateway(arrival: Arrival) -> Action:
        moments.append(arrival.seconds)
        busy = arrival.number == 30
        return Action(processed=False, status=429, headers="Retry-After: 2\r\n") if busy else PASS

    async with serving(gateway) as endpoint:
        job = a_job(tmp_path, endpoint.url, 200, limits={"rate": 100})
        summary = await engager.run_async(job, out=tmp_path / "run")
        assert (summary.exit_code, summary.statuses["engaged"]) == (0, 200)
        refused = moments[29]
        assert sum(refused < at < refused + 1.9 for at in moments) <= 32  # what had left already
        assert len([at for at in moments if at >= refused + 1.9]) > 100


async def test_the_limits_are_found_over_all_senders(tmp_path: Path) -> None:
    async with sandbox(latency="5ms") as opened:
        job = a_job(tmp_path, opened.url, 100, limits={"concurrency": "auto", "rate": "auto"})
        summary = await engager.run_async(job, out=tmp_path / "run")
        assert (summary.exit_code, summary.statuses["engaged"]) == (0, 100)
        assert set(Counter(entry.request_id for entry in opened.log).values()) == {1}


async def test_a_stop_in_good_order_leaves_no_doubt(tmp_path: Path) -> None:
    before, control = children(), Control()
    async with serving() as endpoint:
        job = a_job(tmp_path, endpoint.url, 300, limits={"rate": 100})
        first = await engager.run_async(
            job, out=tmp_path / "run", control=control, watch=after(40, lambda: control.stop("enough"))
        )
        assert (first.exit_code, first.statuses["in_doubt"]) == (3, 0)
        assert children() == before
        sent = endpoint.requests
        assert sent == sum(first.statuses.values()) == first.as_dict()["requests"]
        second = await engager.run_async(job, out=tmp_path / "run")
        assert (second.exit_code, second.statuses["engaged"]) == (0, 300)
        assert endpoint.requests == second.as_dict()["requests"] == 300


async def test_a_cancelled_run_ends_its_senders(tmp_path: Path) -> None:
    before = children()
    async with serving(lambda arrival: PASS) as endpoint:
        job = a_job(tmp_path, endpoint.url, 300, limits={"rate": 50})
        task = asyncio.create_task(engager.run_async(job, out=tmp_path / "run"))
        await senders_of(before)
        while endpoint.requests < 5:
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children() == before
        summary = await engager.run_async(job, out=tmp_path / "run")
        assert (summary.exit_code, summary.statuses["engaged"]) == (0, 300)
        assert set(endpoint.effects.values()) == {1}


SCRIPT = """
import sys, engager
print("the script runs")
job = engager.build_job({job}, base={base!r})
summary = engager.run(job, out={base!r} + "/run")
print(summary.exit_code, summary.statuses["engaged"])
"""


def test_a_script_is_not_run_again_by_its_senders(tmp_path: Path) -> None:
    """Although it does not ask whether it is the main program."""
    (tmp_path / "people.csv").write_text("email\n" + "".join(f"p{n}@example.com\n" for n in range(20)))
    job = {
        "job": {"name": "remote"},
        "endpoint": {"url": "sandbox"},
        "input": {"path": "people.csv"},
        "request": {"id": 12, "email": "{email}"},
        "limits": {"processes": 2},
        "output": {"report": False},
    }
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(job=json.dumps(job).replace("false", "False"), base=str(tmp_path)))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (["the script runs", "0 20"], "")


def test_ctrl_c_is_for_the_run_and_not_for_its_senders(tmp_path: Path) -> None:
    """A terminal sends it to all: none of them prints a traceback, and the run ends in good order."""
    (tmp_path / "job.toml").write_text(
        '[job]\nname = "remote"\n[endpoint]\nurl = "sandbox"\n[input]\npath = "people.csv"\n'
        '[request]\nid = 12\nemail = "{email}"\n[limits]\nprocesses = 2\nrate = 20\n'
        "[output]\nreport = false\n"
    )
    (tmp_path / "people.csv").write_text("email\n" + "".join(f"p{n}@example.com\n" for n in range(2000)))
    command = [sys.executable, "-m", "engager", "run", "job.toml", "--log-format", "json"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        results = tmp_path / "runs/remote/results.jsonl"
        while not results.exists() or not results.stat().st_size:
            assert process.poll() is None
            os.sched_yield()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    summary = json.loads((tmp_path / "runs/remote/summary.json").read_text())
    assert process.returncode == 130
    assert summary["statuses"]["in_doubt"] == 0
    assert "Traceback" not in errors


async def test_without_files_for_another_process_the_run_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that cannot be started for a moment neither ends the run nor hangs it."""
    start, failed = asyncio.create_subprocess_exec, list[object]()

    async def scarce(*args: Any, **kwargs: Any) -> asyncio.subprocess.Process:
        if len(failed) < 2:
            failed.append(args)
            raise OSError(24, "Too many open files")
        return await start(*args, **kwargs)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", scarce)
    async with serving() as endpoint:
        summary = await engager.run_async(a_job(tmp_path, endpoint.url), out=tmp_path / "run")
        assert len(failed) == 2
        assert (summary.exit_code, summary.statuses["engaged"]) == (0, 60)
