"""`engager find` as a person asks it: was Ann written to?"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import engager

PEOPLE = [{"email": f"p{number}@example.com"} for number in range(1, 5)]
SILENT = {"silence_after": 1.0}
FAST = "[retry]\nattempts = 2\nbase_delay = 0.01\n"


@pytest.fixture
async def ended(bench: Any) -> Any:
    """Four engaged, one rejected, one invalid; and another run with the same people in another folder."""
    b = await bench(5, FAST, profiles=PEOPLE)
    with (b.path / "people.csv").open("a") as file:
        file.write("bob at example.com,Bob\n")
    assert (await b.engager("run", "job.toml")).code == 1
    assert (await b.engager("run", "job.toml", "--limit", "2", "--out", "runs/again")).code == 0
    return b


async def found(b: Any, *args: str) -> list[dict[str, Any]]:
    asked = await b.engager("find", *args, "--output", "json")
    documents: list[dict[str, Any]] = json.loads(asked.out)
    assert asked.code == (0 if any(document["rows"] for document in documents) else 1), asked.err
    return documents


@pytest.mark.parametrize(
    ("key", "facts"),
    [
        ("p3@example.com", [(3, "engaged", 0)]),
        ("P3@Example.COM", [(3, "engaged", 0)]),
        ("Ann <p3@example.com>", [(3, "engaged", 0)]),
        ("p5@example.com", [(5, "rejected", 400)]),
        ("bob at example.com", [(6, "invalid", "malformed")]),
        ("at example.com", []),
        ("p33@example.com", []),
        ("+79160000001", []),
        ("-", []),
    ],
)
async def test_a_key_is_found_as_the_run_compares_it(ended: Any, key: str, facts: list[Any]) -> None:
    (run,) = await found(ended, "runs/test", key)
    assert [(row["row"], row["status"], row["error"]) for row in run["rows"]] == facts
    assert {row["stage"] for row in run["rows"]} <= {"settled"}
    assert (run["directory"], run["matched_by"], run["without_outcome"]) == ("runs/test", "email", 0)


async def test_a_rehearsal_reached_nobody(ended: Any) -> None:
    b = ended
    await b.engager("run", "job.toml", "--out", "runs/rehearsal", "--set", "endpoint.url=sandbox")
    runs = {run["directory"]: run["endpoint"] for run in await found(b, "runs", "p3@example.com")}
    assert (runs["runs/rehearsal"], runs["runs/test"]) == ("sandbox", b.sandbox.url)
    lines = (await b.engager("find", "runs", "p3@example.com")).out.splitlines()
    assert [line.startswith("runs/rehearsal") for line in lines] == ["sandbox" in line for line in lines]
    table = (await b.engager("status", "runs")).out.splitlines()[1:]
    assert [line.startswith("runs/rehearsal") for line in table] == ["sandbox" in line for line in table]


async def test_a_run_that_is_named_like_its_job_is_told_by_its_folder(ended: Any) -> None:
    for command in (("pause", "test"), ("status", "test"), ("find", "test", "p3@example.com")):
        refused = await ended.engager(*command)
        assert (refused.code, refused.err.count("runs/test")) == (2, 1), refused.err
    assert "runs/again, runs/test" in (await ended.engager("stop", "unlike")).err


async def test_the_text_says_where_and_what(ended: Any) -> None:
    asked = await ended.engager("find", "runs", "p5@example.com")
    line = next(line for line in ended.results() if line["row"] == 5)
    assert asked.code == 0
    for fact in (
        "runs/test",
        "row 5",
        "rejected",
        line["error_text"],
        line["request_id"],
        line["finished_at"],
    ):
        assert fact in asked.out
    nobody = await ended.engager("find", "runs", "nobody@example.com")
    assert (nobody.code, "nobody@example.com" in nobody.out) == (1, True)


async def test_a_folder_stands_for_every_run_beneath_it(ended: Any) -> None:
    runs = await found(ended, ".", "p1@example.com")
    assert [run["directory"] for run in runs] == ["runs/again", "runs/test"]
    assert [len(run["rows"]) for run in runs] == [1, 1]
    assert len(await found(ended, "runs", "runs/test", "runs/../runs/again", "p1@example.com")) == 2


async def test_the_keys_of_statuses_are_an_exclusion_list(ended: Any) -> None:
    asked = await ended.engager("find", "runs/test", "--status", "engaged", "--status", "rejected", "--keys")
    assert (asked.code, asked.err) == (0, "")
    assert sorted(asked.out.split()) == [f"p{number}@example.com" for number in range(1, 6)]
    (ended.path / "list.txt").write_text(asked.out)
    excluded = await ended.engager(
        "run", "job.toml", "--out", "runs/new", "--set", 'input.exclude="list.txt"', "--yes"
    )
    assert excluded.code == 1
    assert ended.summary("runs/new")["statuses"]["skipped"] == 5
    (run,) = await found(ended, "runs/test", "--status", "invalid")
    assert [(row["row"], row["key"]) for row in run["rows"]] == [(6, None)]
    none = await ended.engager("find", "runs/test", "--status", "invalid", "--keys")
    assert (none.code, none.out) == (1, "")
    assert "1 rows" in none.err


async def test_a_key_that_no_list_can_have_is_refused_after_the_others(bench: Any) -> None:
    b = await bench(1)
    job = (b.path / "job.toml").read_text()
    by_login = 'matching = "custom"\nfield_name = "login"\nfield_value = "{email}"'
    (b.path / "job.toml").write_text(job.replace('email = "{email}"', by_login))
    (b.path / "people.csv").write_bytes(b'email,name\nann,x\n"bob\nby",y\n' + b"c" * 600 + b",z\n")
    assert (await b.engager("run", "job.toml", "--set", "input.multiline=true")).code == 0
    asked = await b.engager("find", "runs/test", "--status", "engaged", "--keys")
    assert (asked.code, asked.out) == (2, "ann\n")
    assert "row 2" in asked.err
    assert "row 3" in asked.err


@pytest.mark.parametrize(
    ("args", "fact"),
    [
        (("runs/test",), "KEY"),
        (("runs/test", " "), "key"),
        (("no-such", "p1@example.com"), "no-such"),
        (("runs/test", "p1@example.com", "--keys"), "--keys"),
        (("runs/test", "p1@example.com", "--status", "engaged"), "p1@example.com"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_refused(
    ended: Any, args: tuple[str, ...], fact: str
) -> None:
    asked = await ended.engager("find", *args)
    assert (asked.code, asked.out) == (2, "")
    assert fact in asked.err
    assert "Traceback" not in asked.err


async def in_flight(b: Any, *command: str) -> Any:
    """A command of which one more request has come, and is not answered."""
    before = len(b.sandbox.log)
    process = await b.start(*command or ("run", "job.toml"))
    while len(b.sandbox.log) == before:
        await asyncio.sleep(0.01)
    return process


async def test_a_row_in_flight_is_found_by_its_key(bench: Any) -> None:
    b = await bench(30, faults=SILENT)
    process = await in_flight(b)
    sent = b.sandbox.log[0].key.removeprefix("email=")
    (run,) = await found(b, "runs/test", sent)
    assert [(row["row"], row["stage"], row["status"]) for row in run["rows"]] == [(1, "in_flight", None)]
    assert (run["in_progress"], run["without_outcome"]) == (True, 1)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    (run,) = await found(b, "runs/test", sent)
    assert [(row["row"], row["stage"]) for row in run["rows"]] == [(1, "interrupted")]
    assert (run["in_progress"], run["undetermined"], run["left"]) == (False, 0, 30)
    (doubtful,) = await found(b, "runs/test", "--status", "in_doubt")
    assert (doubtful["rows"], doubtful["undetermined"]) == (run["rows"], 0)


async def test_a_row_in_flight_whose_key_is_unknown_is_reported(bench: Any) -> None:
    b = await bench(30, faults=SILENT)
    process = await in_flight(b)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    os.unlink(b.path / "people.csv")
    asked = await b.engager("find", "runs/test", "p1@example.com")
    assert asked.code == 1
    assert "runs/test: 1 rows" in asked.err
    (run,) = await found(b, "runs/test", "p1@example.com")
    assert (run["rows"], run["without_outcome"], run["undetermined"]) == ([], 1, 1)


async def test_a_row_that_is_sent_again_has_its_previous_outcome_until_then(bench: Any) -> None:
    b = await bench(20, "[retry]\nattempts = 1\n[breaker]\nfailures = 0\n", faults={"429": 0.5}, seed=3)
    assert (await b.engager("run", "job.toml")).code == 1
    first, *_, last = sorted((line["row"], line["key"]) for line in b.results() if line["status"] == "failed")
    b.sandbox._faults.plan = replace(b.sandbox._faults.plan, shares=SILENT)
    process = await in_flight(b, "retry", "runs/test")
    for key, stage in ((first[1], "in_flight"), (last[1], "pending")):
        (run,) = await found(b, "runs/test", key)
        assert [(row["stage"], row["status"]) for row in run["rows"]] == [(stage, "failed")]
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    b.sandbox._faults.plan = replace(b.sandbox._faults.plan, shares={})
    assert (await b.engager("retry", "runs/test")).code == 0
    (run,) = await found(b, "runs/test", last[1])
    assert [(row["stage"], row["status"]) for row in run["rows"]] == [("settled", "engaged")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "people.csv").write_text("email,phone\nann@example.com,8 (916) 000-00-01\n")
    return tmp_path


def job(folder: Path, request: dict[str, Any], **tables: Any) -> engager.JobFile:
    given = {
        "job": {"name": "test"},
        "endpoint": {"url": "sandbox"},
        "input": {"path": "people.csv", **tables.pop("input", {})},
        "request": {"id": 12, **request},
    }
    return engager.build_job({**given, **tables}, base=folder)


@pytest.mark.parametrize(
    ("request_", "region", "key", "is_found"),
    [
        ({"matching": "phone", "phone": "{phone}"}, "RU", "+79160000001", True),
        ({"matching": "phone", "phone": "{phone}"}, "RU", "tel:8-916-000-00-01", True),
        ({"matching": "phone", "phone": "{phone}"}, "RU", "+79160000002", False),
        ({"matching": "phone", "phone": "{phone}"}, "RU", "ann@example.com", False),
        ({"custom_request": {"email": "{email}"}}, None, "ann@example.com", True),
        ({"custom_request": {"email": "{email}"}}, None, '{"email":"ann@example.com"}', True),
        ({"custom_request": {"email": "{email}"}}, None, "ann", False),
        (
            {"matching": "custom", "field_name": "mail", "field_value": "{email}"},
            None,
            "ann@example.com",
            True,
        ),
        ({"matching": "custom", "field_name": "mail", "field_value": "{email}"}, None, "mail", False),
    ],
)
def test_each_way_of_matching_has_its_own_form_of_keys(
    folder: Path, request_: dict[str, Any], region: str | None, key: str, is_found: bool
) -> None:
    given = {} if region is None else {"region": region}
    engager.run(job(folder, request_, input=given), out=folder / "run")
    (run,) = engager.find(folder, key=key)
    assert bool(list(run.rows)) is is_found


def test_a_key_or_statuses_must_be_given(folder: Path) -> None:
    for given in ({}, {"key": "a@b.c", "statuses": ["engaged"]}, {"key": ""}):
        with pytest.raises(engager.JobError):
            engager.find(folder, **given)
