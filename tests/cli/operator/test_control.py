"""`engager pause`, `resume`, `rate` and `stop` from another terminal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest


@pytest.fixture
async def sending(bench: Any) -> Any:
    """A run of many rows, of which some are sent."""
    b = await bench(5000, "[limits]\nrate = 200\nconcurrency = 8\n")
    b.process = await b.start("run", "job.toml")
    while len(b.sandbox.log) < 10:
        await asyncio.sleep(0.01)
    return b


async def test_a_run_is_commanded_and_ends_in_good_order(sending: Any) -> None:
    b = sending
    for args, fact in (
        (("pause", "runs/test"), "paused"),
        (("rate", "runs/test", "50"), "operator"),
        (("resume", "runs/test"), "resumed"),
        (("stop", "runs/test"), "stopping"),
    ):
        ended = await b.engager(*args)
        assert (ended.code, ended.err) == (0, "")
        assert fact in ended.out
    await b.process.communicate()
    assert b.process.returncode == b.summary()["exit_code"] == 3
    assert "another terminal" in b.summary()["stopped"]
    assert len(b.results()) == b.summary()["rows"] == len(b.sandbox.log)
    assert (await b.engager("run", "job.toml", "--limit", str(len(b.sandbox.log) + 5))).code == 0


@pytest.mark.parametrize(
    ("args", "fact"),
    [
        (("rate", "runs/test", "201"), "limits.rate"),
        (("rate", "runs/test", "fast"), "fast"),
        (("pause", "runs/other"), "runs/other"),
        (("pause", "."), "no run"),
    ],
)
async def test_a_command_that_is_refused_changes_nothing(
    sending: Any, args: tuple[str, ...], fact: str
) -> None:
    ended = await sending.engager(*args)
    assert (ended.code, ended.out) == (2, "")
    assert fact in ended.err
    assert "Traceback" not in ended.err
    assert (await sending.engager("stop", "runs/test")).code == 0
    await sending.process.communicate()


async def test_a_run_that_is_not_in_progress_is_not_commanded(bench: Any) -> None:
    b = await bench(3)
    assert (await b.engager("run", "job.toml")).code == 0
    for args in (("pause",), ("resume",), ("stop",), ("rate",)):
        ended = await b.engager(*args, "runs/test", *(["9"] if args == ("rate",) else []))
        assert (ended.code, ended.out) == (2, "")
        assert "runs/test: this run is not in progress" in ended.err
