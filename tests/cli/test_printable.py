"""What others wrote never steers a terminal, and never looks like a line of engager's own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

#: It clears the screen, turns the text round, and begins a line.
EVIL = "\x1b[2J\u202e\x9b31m\nerror: forged"


def assert_harmless(*texts: str) -> None:
    for text in texts:
        lines = text.split("\n")
        assert all(line.isprintable() for line in lines), text
        assert not any(line.startswith("error: forged") for line in lines), text


async def test_a_run_directory_of_others(bench: Any) -> None:
    b = await bench(3)
    await b.engager("run", "job.toml", "--limit", "1")
    summary = {**b.summary(), "stopped": EVIL}
    (b.path / "runs/test/summary.json").write_text(json.dumps(summary))
    run = json.loads((b.path / "runs/test/run.json").read_text())
    run["invocation"]["overrides"] = [EVIL]
    (b.path / "runs/test/run.json").write_text(json.dumps(run))
    status = await b.engager("status", "runs/test")
    assert status.code == 0
    assert_harmless(status.out, status.err)


@pytest.mark.parametrize("command", ["check", "run"])
async def test_columns_values_and_names_of_files(bench: Any, command: str) -> None:
    b = await bench(0)
    b.write_job("[retry]\nattempts = 1\n")
    name = b.path / "a\x1b[2J\u202eb.csv"
    name.write_text(f'email,"n{EVIL}"\n"p1{EVIL}",x\nann@example.com,y\n"a@b@{EVIL}",z\n')
    ended = await b.engager(command, "job.toml", "--input", str(name), "--set", 'request.content={ a = "1" }')
    assert ended.code == 1, ended.err
    assert_harmless(ended.out, ended.err)
    assert "2 are invalid" in ended.out or "2 invalid" in ended.out


async def test_a_stop_that_names_a_file(bench: Any) -> None:
    b = await bench(10_000, "[limits]\nconcurrency = 4\n", latency="2ms")
    name = b.path / f"people{EVIL}.csv"
    (b.path / "people.csv").rename(name)
    process = await b.start("run", "job.toml", "--input", str(name))
    while not b.sandbox.log:
        await asyncio.sleep(0.01)
    name.write_text("email,name\n")
    out, err = await process.communicate()
    assert process.returncode == 3
    status = await b.engager("status", "runs/test")
    # The command that resumes quotes the name as it is, for the shell.
    text, _, command = err.decode().partition("\n  engager run ")
    assert command
    assert "rewritten or shortened" in text
    assert_harmless(out.decode(), text, status.out)


async def test_errors_that_quote_what_is_wrong(bench: Any) -> None:
    b = await bench(1)
    for command in (["run", "job.toml", "--input", f"no{EVIL}"], ["status", f"runs/{EVIL}"]):
        ended = await b.engager(*command)
        assert ended.code == 2
        assert all(line.isprintable() for line in (ended.out + ended.err).split("\n"))


async def test_scenarios_and_doctor(bench: Any) -> None:
    b = await bench(1, scenarios=[{"id": 12, "name": EVIL}])
    for command in (["scenarios", "list", "job.toml"], ["doctor", "job.toml"]):
        ended = await b.engager(*command)
        assert "12" in ended.out
        assert_harmless(ended.out, ended.err)
