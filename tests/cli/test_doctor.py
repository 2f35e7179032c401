"""`engager doctor` and `delivery.probe` as their user sees them."""

from __future__ import annotations

import json
from typing import Any

import pytest

TOKEN = "t0ken-that-nobody-may-see"
WELL = {"profiles": [], "scenarios": [{"id": 12}], "tokens": [TOKEN]}
PROBE = "[delivery]\nprobe = true\n"


async def test_all_is_well(bench: Any) -> None:
    b = await bench(**WELL)
    ended = await b.engager("doctor", "job.toml")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert len(lines) == 9
    assert lines[5].split()[:2] == ["scenario", "ok"]
    assert "12" in lines[5]
    assert TOKEN not in ended.out
    assert b.sandbox.brain.effects.total() == 0
    assert not (b.path / "runs").exists()


async def test_an_error_has_advice_and_an_exit_code(bench: Any) -> None:
    b = await bench(**WELL)
    ended = await b.engager("doctor", "job.toml", "--set", "request.id=13", "--output", "json")
    assert ended.code == 2
    found = {finding["check"]: finding for finding in json.loads(ended.out)}
    assert found["scenario"]["state"] == "failed"
    assert "request.id" in found["scenario"]["advice"]
    assert found["deduplication"]["state"] == "ok"


async def test_what_is_unknown_is_no_failure(bench: Any) -> None:
    b = await bench(**WELL, assumptions={"deduplicate": False})
    ended = await b.engager("doctor", "job.toml")
    assert ended.code == 0
    assert "deduplication unknown" in ended.out


async def test_a_job_that_is_none(bench: Any) -> None:
    b = await bench()
    ended = await b.engager("doctor", "job.toml", "--set", "endpoint.timeout=soon")
    assert (ended.code, ended.out) == (2, "")
    assert "endpoint.timeout" in ended.err


async def test_a_run_without_deduplication_is_refused_before_its_first_row(bench: Any) -> None:
    b = await bench(job=PROBE, assumptions={"deduplicate": False})
    refused = await b.engager("run", "job.toml")
    assert refused.code == 2
    assert "at-most-once" in refused.err
    assert [entry.key for entry in b.sandbox.log if "@" in entry.key] == []
    again = await b.engager("run", "job.toml", "--set", "delivery.mode=at-most-once")
    assert again.code == 0
    assert len(b.results()) == 20


@pytest.mark.parametrize(("deduplicates", "warned"), [(True, False), (False, True)])
async def test_a_run_that_may_be_goes_on(bench: Any, deduplicates: bool, warned: bool) -> None:
    people = [{"email": f"p{number}@example.com"} for number in range(1, 21)]
    b = await bench(job=PROBE, profiles=people, assumptions={"deduplicate": deduplicates})
    ended = await b.engager("run", "job.toml")
    assert ended.code == 0
    assert ("delivery.mode" in ended.err) == warned
    assert b.sandbox.brain.effects.total() == 20
    assert len(b.sandbox.log) == 24


async def test_a_complete_run_asks_nothing(bench: Any) -> None:
    b = await bench(job=PROBE)
    await b.engager("run", "job.toml")
    before = len(b.sandbox.log)
    assert (await b.engager("run", "job.toml")).code == 0
    assert len(b.sandbox.log) == before
