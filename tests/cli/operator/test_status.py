"""`engager status` of all runs, and of one that is followed."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

SLOW = "[limits]\nrate = 100\nconcurrency = 8\n"


async def document(b: Any, *args: str) -> Any:
    asked = await b.engager("status", *args, "--output", "json")
    assert asked.code == 0, asked.err
    return json.loads(asked.out)


async def started(b: Any, requests: int, *args: str) -> Any:
    before = len(b.sandbox.log)
    process = await b.start("run", "job.toml", *args)
    while len(b.sandbox.log) < before + requests:
        await asyncio.sleep(0.01)
    return process


async def test_all_runs_beneath_a_folder(bench: Any) -> None:
    b = await bench(400, SLOW, profiles=[{"email": f"p{n}@example.com"} for n in range(1, 400)])
    (b.path / ".hidden/run").mkdir(parents=True)
    (b.path / ".hidden/run/run.json").write_text("{}")
    (b.path / "runs/foreign").mkdir(parents=True)
    (b.path / "runs/foreign/run.json").write_text('{"format": 1, "run_id": "x"}')
    quick = ("--set", "limits.rate=5000")
    assert (await b.engager("run", "job.toml", "--out", "runs/a/complete", *quick)).code == 1
    assert (await b.engager("run", "job.toml", "--out", "runs/limited", "--limit", "40", *quick)).code == 0
    deadline = ("--set", "stop.max_failed=1", "--input", "bad.csv")
    (b.path / "bad.csv").write_text("email,name\n" + "nobody,N\n" * 50)
    assert (await b.engager("run", "job.toml", "--out", "runs/threshold", *deadline)).code == 3
    killed = await started(b, 5, "--out", "runs/killed")
    killed.send_signal(signal.SIGKILL)
    await killed.communicate()
    under_way = await started(b, 5, "--out", "runs/under-way")
    assert (await b.engager("pause", "runs/under-way")).code == 0
    seen = {run["directory"]: run for run in await document(b)}
    table = await b.engager("status", "runs")
    under_way.send_signal(signal.SIGTERM)
    await under_way.communicate()
    states = {name: (run["state"], run.get("exit_code"), run.get("total")) for name, run in seen.items()}
    assert states == {
        "runs/a/complete": ("complete", 1, 400),
        "runs/foreign": ("unreadable", None, None),
        "runs/killed": ("stopped", None, 400),
        "runs/limited": ("stopped", 0, 400),
        "runs/threshold": ("stopped", 3, 50),
        "runs/under-way": ("running", None, 400),
    }
    assert {*seen["runs/under-way"]["holders"]} == {"operator"}
    assert seen["runs/limited"]["share"] == 0.1
    assert "stop.max_failed" in seen["runs/threshold"]["stopped"]
    lines = table.out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["runs/a/complete", "complete"],
        ["runs/foreign", "unreadable"],
        ["runs/killed", "stopped"],
        ["runs/limited", "stopped"],
        ["runs/threshold", "stopped"],
        ["runs/under-way", "paused"],
    ]
    assert "399 engaged, 1 rejected" in lines[1]


async def test_a_folder_without_a_run_is_an_error(bench: Any) -> None:
    b = await bench(3)
    for path in (".", "none", "people.csv"):
        ended = await b.engager("status", path)
        assert (ended.code, ended.out) == (2, "")
        assert path in ended.err


async def test_a_pause_is_seen_and_the_rate_and_the_total(bench: Any) -> None:
    b = await bench(400, SLOW)
    process = await started(b, 5)
    assert (await b.engager("pause", "runs/test")).code == 0
    seen = await document(b, "runs/test")
    assert (seen["state"], {*seen["holders"]}, seen["rate"], seen["total"]) == (
        "running",
        {"operator"},
        100,
        400,
    )
    assert "paused by operator" in (await b.engager("status", "runs/test")).out
    process.send_signal(signal.SIGSTOP)  # what cannot be known is not claimed
    seen = await document(b, "runs/test")
    assert (seen["state"], seen["holders"], seen["rate"]) == ("running", None, None)
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    seen = await document(b, "runs/test")
    assert (seen["state"], seen["holders"], seen["exit_code"]) == ("stopped", {}, 143)


@pytest.mark.parametrize(("number", "code"), [(None, 0), (signal.SIGTERM, 143), (signal.SIGKILL, 4)])
async def test_a_run_is_followed_until_it_ends(bench: Any, number: int | None, code: int) -> None:
    b = await bench(150, SLOW)
    process = await started(b, 5)
    following = await b.start("status", "runs/test", "--follow", "--output", "json")
    if number is not None:
        assert (await b.engager("pause", "runs/test")).code == 0
        while b'"operator"' not in (first := await following.stdout.readline()):
            assert first
        process.send_signal(number)
    out, err = await following.communicate()
    await process.communicate()
    states = [json.loads(line) for line in out.splitlines()]
    assert (following.returncode, err) == (code, b"")
    assert states[-1]["state"] == ("complete" if number is None else "stopped")
    assert [state["rows"] for state in states] == sorted(state["rows"] for state in states)
    assert states[-1]["exit_code"] == (None if number == signal.SIGKILL else code)
    again = await b.engager("status", "runs/test", "--follow")
    assert (again.code, again.err) == (code, "")
    assert len(b.results()) <= states[-1]["rows"]


async def test_what_an_earlier_process_left_says_nothing_of_one_that_was_killed(bench: Any) -> None:
    b = await bench(400, SLOW)
    assert (await b.engager("run", "job.toml", "--limit", "3")).code == 0
    assert (await document(b, "runs/test"))["exit_code"] == 0
    process = await started(b, 5)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    seen = await document(b, "runs/test")
    assert (seen["state"], seen["exit_code"], seen["finished_at"]) == ("stopped", None, None)
    assert "summary" in seen["stopped"]


async def test_the_command_that_resumes_is_for_this_directory(bench: Any) -> None:
    b = await bench(9)
    assert (await b.engager("run", "job.toml", "--limit", "4", "--out", "runs/{{date}} a")).code == 0
    (state,) = json.loads((await b.engager("status", "--output", "json")).out)
    assert Path(state["directory"]).name == "{date} a"
    _, *command = shlex.split(state["resume_command"])
    assert (await b.engager(*command)).code == 0
    assert len(b.results(state["directory"])) == len(b.sandbox.log) == 9


async def test_options_that_exclude_each_other(bench: Any) -> None:
    b = await bench(3)
    assert (await b.engager("run", "job.toml")).code == 0
    for args in (("--follow", "--tasks"), ("--set", "limits.rate=1")):
        assert (await b.engager("status", "runs/test", *args)).code == 2


async def test_the_senders_of_a_run_are_shown_and_counted(bench: Any) -> None:
    b = await bench(300, "[limits]\nrate = 50\nprocesses = 2\n")
    process = await started(b, 40)
    seen = await document(b, "runs/test")
    text = await b.engager("status", "runs/test")
    assert (await b.engager("stop", "runs/test")).code == 0
    await process.communicate()
    assert [sender["name"] for sender in seen["senders"]] == ["process 1", "process 2"]
    assert sum(sender["share"] for sender in seen["senders"]) <= 50
    assert not any(sender["lost"] for sender in seen["senders"])
    assert all(f"{sender['name']}: " in text.out for sender in seen["senders"])
    summary = b.summary()
    assert list(summary["senders"]) == ["process 1", "process 2"]
    assert sum(summary["senders"].values()) == summary["requests"]
    assert (await document(b, "runs/test"))["senders"] is None
