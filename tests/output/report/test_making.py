"""How a run was made and what to do next, as the page says it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engager import Status, build_job, status
from engager import run as send
from engager.output.next_steps import next_steps
from engager.output.report.heading import badge
from engager.output.report.making import making
from engager.output.report.page import page_of, write_report
from engager.run.operator.overview import state_of_run
from engager.store.run_directory import RunDirectory
from engager.store.status import UNCONFIRMED, existing_run
from tests.output.browser import Browser
from tests.output.report.made import made, outcome

BEGAN = '2026-11-24 08:00:00,123 INFO began {"directory":"x"}\n'
ENDED = '2026-11-24 08:01:00,123 INFO ended {"directory":"x"}\n'
FAULT = '2026-11-24 08:01:00,123 ERROR error {"text":"x"}\n'
NOISE = "2026-11-24 08:00:30,123 WARNING began { is no beginning\n  INFO began {\n{\n"


def seen(state: str = "complete", exit_code: int | None = 0, /, **statuses: int) -> dict[str, Any]:
    return {"state": state, "exit_code": exit_code, "statuses": {**dict.fromkeys(Status, 0), **statuses}}


def commands(run: RunDirectory, facts: dict[str, Any]) -> list[list[str]]:
    return [shlex.split(step.command) for step in next_steps(run, facts) if step.command]


@pytest.mark.parametrize(
    ("facts", "looks"),
    [
        (seen(engaged=1), "good"),
        (seen(accepted=1), "good"),
        (seen(skipped=1), "warn"),
        (seen("complete", 1, engaged=9, failed=1), "warn"),
        (seen("stopped", 3, engaged=1), "warn"),
        (seen("stopped", None, engaged=1), "warn"),
        (seen("running", None, engaged=1), "running"),
    ],
)
def test_only_an_exit_code_of_0_that_reached_somebody_looks_good(facts: dict[str, Any], looks: str) -> None:
    assert badge(facts) == looks


@pytest.mark.parametrize(
    ("log", "state", "fact"),
    [
        (BEGAN + NOISE + ENDED, "complete", "1"),
        (BEGAN + BEGAN + ENDED, "complete", "2, 1 of them killed"),
        (BEGAN + FAULT + BEGAN, "stopped", "2, 1 of them killed"),
        (BEGAN + ENDED + BEGAN, "running", "2"),
        ('{"event":"began"}\n{"event":"ended"}\n{"event":"began"}\n', "stopped", "2, 1 of them killed"),
        ("", "stopped", None),
    ],
)
async def test_starts_and_kills_are_counted_by_the_log(
    tmp_path: Path, log: str, state: str, fact: str | None
) -> None:
    run = await made(tmp_path / "run", [outcome(1)])
    run.log_path.write_text(log)
    found = dict(making(run, seen(state))).get("starts")
    assert found is None if fact is None else found is not None and found.partition(" or ")[0] == fact


async def test_a_run_without_a_log_says_nothing_of_starts(tmp_path: Path) -> None:
    run = await made(tmp_path / "run", [outcome(1)])
    assert [term for term, _ in making(run, seen())] == ["exit code"]


async def test_how_much_each_sender_sent_is_said(tmp_path: Path) -> None:
    run = await made(tmp_path, [outcome(1)], complete=True)
    assert "senders" not in dict(making(run, seen()))
    sent = {f"process {number}": 1000 + number for number in range(1, 13)}
    run.write_summary({**(run.summary() or {}), "senders": sent})
    said = dict(making(run, seen()))["senders"]
    assert said.startswith("12; process 1: 1,001 requests, process 2: ")
    assert "process 12" not in said


async def test_each_kind_of_row_that_is_left_over_has_its_step(tmp_path: Path) -> None:
    run = await made(tmp_path / "a run", [outcome(1)])
    path = str(run.path)
    (run.path / "failed.jsonl").touch()
    assert commands(run, seen(engaged=5, skipped=1)) == []
    assert commands(run, seen(failed=1)) == [["engager", "retry", path]]
    assert commands(run, seen(in_doubt=1)) == [["engager", "retry", path, "--in-doubt", "--keys", "FILE"]]
    for kind in ("rejected", "invalid"):
        copies, (_, *words) = commands(run, seen(**{kind: 1}))
        assert words[:2] == ["run", "spring.toml"]
        assert copies == ["cp", str(run.path / "failed.jsonl"), words[words.index("--input") + 1]]
        assert words[words.index("--after") + 1] == path != words[words.index("--out") + 1]
    assert len(commands(run, seen(failed=1, in_doubt=1, rejected=1, invalid=1))) == 4
    assert "in_doubt" in next_steps(run, seen(in_doubt=1))[0].text


async def test_an_unfinished_run_is_resumed_where_it_was(tmp_path: Path) -> None:
    run = await made(tmp_path / "run", [outcome(1)], complete=False)
    for code in (None, 2, 3, 4, 143):
        ((_, *words),) = commands(run, seen("stopped", code, failed=1))
        assert words == ["run", "spring.toml", "--out", str(run.path)]
    assert commands(run, seen("running")) == [["engager", "status", str(run.path), "--follow"]]
    run.write_summary({"complete": False, "stopped": f"{UNCONFIRMED} = 5, and the rest is not confirmed"})
    assert commands(run, seen("stopped", 3))[0][-1] == "--yes"
    run.given_up_path.touch()
    assert commands(run, seen("stopped", 3)) == []


async def test_no_command_where_only_a_program_or_another_name_can_do_it(tmp_path: Path) -> None:
    run = await made(tmp_path / "run", [outcome(1)])
    given = replace(run, invocation={"job": None, "overrides": [], "reads": "rows of a program"})
    for facts in (seen(failed=1), seen(in_doubt=1), seen(rejected=1), seen("stopped", 3)):
        assert commands(given, facts) == []
        assert next_steps(given, facts)
    named = replace(run, identity={**run.identity, "run": {"name": "2026-11-24"}})
    assert commands(named, seen(rejected=1)) == []


async def test_a_task_is_asked_for(tmp_path: Path) -> None:
    run = await made(tmp_path / "run", [outcome(1, Status.ACCEPTED, reference="a1")])
    assert commands(run, seen(accepted=1)) == [["engager", "status", str(run.path), "--tasks"]]
    assert commands(run, seen()) == []
    without = await made(tmp_path / "without", [outcome(1, Status.ACCEPTED)])
    assert commands(without, seen(accepted=1)) == []


async def test_a_command_is_copied_from_the_page_as_it_is(browser: Browser, tmp_path: Path) -> None:
    run = await made(tmp_path / "a  run <b>", [outcome(1), outcome(2, Status.FAILED)], exit_code=1)
    browser.look(390)
    browser.open(write_report(run))
    command = next(step.command for step in next_steps(run, seen(failed=1)))
    assert browser.find("#next code")[0].get_property("textContent") == command
    browser.run("getSelection().selectAllChildren(document.querySelector('#next code'))")
    assert browser.run("return getSelection().toString()") == command
    assert browser.find("h1 .state")[0].get_dom_attribute("class") == "state warn"
    assert browser.overflow() <= 0


def test_the_page_of_a_real_run_says_how_it_was_made(tmp_path: Path) -> None:
    tables = {
        "job": {"name": "spring"},
        "endpoint": {"url": "sandbox"},
        "input": {"path": "people.csv"},
        "request": {"method": "import_and_start_batch", "workflow_id": 1, "matching": "email", "db_id": 1}
        | {"email": "{email}", "data": {"email": "{email}"}},
        "limits": {"rate": 250, "concurrency": 3},
        "batch": {"rows": 17},
        "delivery": {"mode": "at-most-once"},
    }
    (tmp_path / "people.csv").write_text("email\n" + "".join(f"p{i}@example.com\n" for i in range(20)))
    summary = send(build_job(tables, base=tmp_path), out=tmp_path / "run", yes=True)
    assert summary.exit_code == 0
    run = existing_run(tmp_path / "run")
    facts = dict(making(run, state_of_run(run)))
    assert facts["delivery"] == "at-most-once"
    assert ("250" in facts["rate"], "3" in facts["concurrency"], "17" in facts["batch"]) == (True,) * 3
    assert (facts["starts"], facts["exit code"][:2]) == ("1", "0:")
    page = page_of(run)
    assert all(text in page for text in facts.values())
    assert 'class="state good"' in page
    assert status(tmp_path / "run")["state"] == "complete"
