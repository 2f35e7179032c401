"""`engager scenarios` as its user sees it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from typing import Any

import pytest

TOKEN = "t0ken-that-nobody-may-see"
THREE = [
    {"id": 12, "name": "Spring welcome"},
    {"id": 7, "name": "Winter\x1b[2J", "active": False},
    {"id": 31, "name": "Nightly orders"},
]


async def test_all_scenarios_in_a_table(bench: Any) -> None:
    b = await bench(scenarios=THREE, tokens=[TOKEN])
    ended = await b.engager("scenarios", "list", "job.toml")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "id  state     name",
        " 7  inactive  Winter\ufffd[2J",
        "12  active    Spring welcome",
        "31  active    Nightly orders",
    ]


@pytest.mark.parametrize(
    ("args", "ids"),
    [
        ((), [7, 12, 31]),
        (("--active",), [12, 31]),
        (("--inactive",), [7]),
        (("--name", "NIGHT"), [31]),
        (("--name", "spring", "--inactive"), []),
    ],
)
async def test_some_scenarios_for_a_program(bench: Any, args: tuple[str, ...], ids: list[int]) -> None:
    b = await bench(scenarios=THREE)
    ended = await b.engager("scenarios", "list", "job.toml", "--output", "json", *args)
    assert ended.code == 0
    assert [found["id"] for found in json.loads(ended.out)] == ids


async def test_a_scenario_is_switched_and_a_run_sees_it(bench: Any) -> None:
    b = await bench(scenarios=THREE)
    off = await b.engager("scenarios", "deactivate", "job.toml", "--yes")
    assert (off.code, off.out) == (0, "scenario 12: was active, is inactive\n")
    run = await b.engager("run", "job.toml")
    assert (run.code, b.sandbox.brain.effects.total()) == (1, 0)
    assert {line["error_text"] for line in b.results()} == {"Workflow is not active"}
    on = await b.engager("scenarios", "activate", "job.toml", "12", "--yes")
    assert (on.code, on.out) == (0, "scenario 12: was inactive, is active\n")
    assert (await b.engager("run", "job.toml", "--out", "runs/again")).code == 0


async def test_what_is_so_already_is_not_asked_for(bench: Any) -> None:
    b = await bench(scenarios=THREE)
    ended = await b.engager("scenarios", "activate", "job.toml")
    assert (ended.code, ended.out) == (0, "scenario 12: is active; nothing was changed\n")
    assert len(b.sandbox.log) == 1


async def test_without_a_terminal_nothing_is_switched_without_yes(bench: Any) -> None:
    b = await bench(scenarios=THREE)
    ended = await b.engager("scenarios", "activate", "job.toml", "7")
    assert (ended.code, ended.out) == (2, "")
    assert 'scenario 7 "Winter\ufffd[2J", which is inactive' in ended.err
    assert "--yes" in ended.err
    assert b.sandbox.brain._switched == {}


@pytest.mark.parametrize(("answer", "code", "state"), [(b"y\n", 0, "active"), (b"n\n", 2, "inactive")])
async def test_a_person_at_a_terminal_is_asked(bench: Any, answer: bytes, code: int, state: str) -> None:
    b = await bench(scenarios=THREE)
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from engager.cli import main; main()"),
        *("scenarios", "activate", "job.toml", "7"),
        cwd=b.path,
        env={**os.environ, "ENGAGER_TEST_TOKEN": TOKEN},
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, answer)  # the terminal buffers it until it is read
    out, _ = await process.communicate()
    os.close(ours)
    assert process.returncode == code
    assert f"is {state}" in out.decode()


@pytest.mark.parametrize(
    ("settings", "args", "code", "fact"),
    [
        ({"tokens": ["another"]}, ("list", "job.toml"), 2, "token"),
        ({"powerless_tokens": [TOKEN], "tokens": []}, ("list", "job.toml"), 2, "rights"),
        ({"faults": {"503": 1.0}}, ("list", "job.toml"), 3, "workflows/list"),
        ({"faults": {"garbage": 1.0}}, ("list", "job.toml"), 3, "workflows/list"),
        ({"scenarios": THREE}, ("activate", "job.toml", "13", "--yes"), 2, "400: Workflow not found"),
        ({}, ("activate", "job.toml", "--set", "request.id={n}", "--yes"), 2, "request.id"),
        ({}, ("activate", "job.toml", "soon"), 2, "soon"),
        ({}, ("list", "no-such.toml"), 2, "no-such.toml"),
    ],
)
async def test_errors_are_reported_without_the_token(
    bench: Any, settings: dict[str, Any], args: tuple[str, ...], code: int, fact: str
) -> None:
    b = await bench(**settings)
    ended = await b.engager("scenarios", *args)
    assert (ended.code, ended.out) == (code, "")
    assert fact in ended.err
    assert "Traceback" not in ended.err
    assert TOKEN not in ended.err


async def test_a_scenario_that_is_not_listed_is_the_endpoint_s_to_judge(bench: Any) -> None:
    b = await bench()
    ended = await b.engager("scenarios", "deactivate", "job.toml", "--yes")
    assert (ended.code, ended.out) == (0, "scenario 12: was not listed, is inactive\n")
