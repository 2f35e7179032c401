"""Every field of every JSON output of the command, filled by a run in which rows ended in every way."""

from __future__ import annotations

import json
from dataclasses import replace
from types import UnionType
from typing import Any

import pytest

JOB = """
[retry]
attempts = 2
base_delay = 0.01
[delivery]
mode = "at-most-once"
[breaker]
failures = 0
"""

RESULT: dict[str, type | UnionType] = {
    "row": int,
    "key": str,
    "status": str,
    "attempts": int,
    "http_status": int,
    "error": int | str,
    "error_text": str,
    "request_id": str,
    "duplicate": bool,
    "latency_ms": float,
    "finished_at": str,
    "waited_ms": float,
}
STATUSES = {"engaged", "rejected", "failed", "in_doubt", "invalid", "skipped"}

#: What no row of a job with this method can have.
NEVER = {"accepted"}


@pytest.fixture
async def ended(bench: Any) -> Any:
    faults = {"429": 0.4, "reset_after": 0.2}
    b = await bench(
        60, JOB, faults=faults, seed=5, profiles=[{"email": f"p{n}@example.com"} for n in range(1, 51)]
    )
    people = (b.path / "people.csv").read_text()
    (b.path / "people.csv").write_text(f"{people}nobody,N\np1@example.com,Again\n")
    assert (await b.engager("run", "job.toml", "--set", "input.unique=true")).code == 1
    return b


async def read(b: Any, *args: str) -> Any:
    reported = await b.engager(*args, "--output", "json")
    assert reported.out, reported.err
    return json.loads(reported.out)


async def test_results_and_summary(ended: Any) -> None:
    lines = ended.results()
    assert {line["status"] for line in lines} == STATUSES
    for name, kind in RESULT.items():
        values = [line[name] for line in lines if line[name] is not None]
        assert values, name
        assert all(isinstance(value, kind) for value in values), name
    assert {line["reference"] for line in lines} == {None}
    summary = ended.summary()
    assert summary["statuses"].keys() == STATUSES | NEVER
    assert {status for status, rows in summary["statuses"].items() if not rows} == NEVER
    assert sum(summary["statuses"].values()) == summary["rows"] == 62
    assert {error["status"] for error in summary["errors"]} == STATUSES - {"engaged"}
    assert all(error["error"] and error["rows"] for error in summary["errors"])
    assert all(value is not None for name, value in summary.items() if name != "stopped")


async def test_status(ended: Any) -> None:
    seen, summary = await read(ended, "status", "runs/test"), ended.summary()
    assert (seen["state"], seen["run"], seen["stopped"]) == ("complete", summary["run"], None)
    same = ("rows", "statuses", "errors", "attempts", "duplicates", "latency_ms", "waited_ms")
    assert {name: seen[name] for name in same} == {name: summary[name] for name in same}


async def test_check(ended: Any) -> None:
    found = await read(ended, "check", "job.toml", "--set", "input.unique=true")
    assert (found["rows"], found["sendable"], found["skipped"], found["repeats"]) == (
        62,
        60,
        {"repeat": 1},
        1,
    )
    assert [(kind["error"], kind["rows"]) for kind in found["invalid"]] == [("malformed", 1)]
    assert found["repeated"]
    assert {*found["samples"][0]} == {"row", "key", "url", "headers", "body"}


async def test_scenarios_and_doctor(ended: Any) -> None:
    ended.sandbox._faults.plan = replace(ended.sandbox._faults.plan, shares={})
    listed = await read(ended, "scenarios", "list", "job.toml")
    assert all({*item} == {"id", "name", "active"} for item in listed)
    checks = await read(ended, "doctor", "job.toml")
    assert all(item["check"] and item["state"] and item["seen"] for item in checks)


async def test_schema(ended: Any) -> None:
    reported = await ended.engager("schema")
    schema = json.loads(reported.out)
    assert {"job", "endpoint", "input", "request", "limits", "stop", "breaker"} <= schema["properties"].keys()


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_a_run_prints_its_summary_and_nothing_else(bench: Any, log_format: str) -> None:
    b = await bench(30, JOB, faults={"429": 0.6}, seed=5)
    form = ("--output", "json", "--log-format", log_format)
    for command in (("run", "job.toml", "--limit", "10"), ("run", "job.toml"), ("run", "job.toml")):
        ended = await b.engager(*command, *form)
        document = json.loads(ended.out)
        assert document.pop("directory") == "runs/test"
        assert document == b.summary()
        assert document["exit_code"] == ended.code
    assert document["statuses"]["failed"]
    passed = await b.engager("retry", "runs/test", *form)
    assert json.loads(passed.out)["exit_code"] == passed.code
    assert json.loads(passed.out)["statuses"] == b.summary()["statuses"]


async def test_a_start_that_is_refused_prints_no_summary(bench: Any) -> None:
    b = await bench()
    (b.path / "people.csv").unlink()
    ended = await b.engager("run", "job.toml", "--output", "json")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err


async def test_an_unconfirmed_rest_prints_one_document(bench: Any) -> None:
    b = await bench(30, "[limits]\nconfirm_above = 10\n")
    ended = await b.engager("run", "job.toml", "--output", "json")
    document = json.loads(ended.out)
    assert (ended.code, document["exit_code"], document["rows"], document["complete"]) == (3, 3, 10, False)
