"""Every JSON output with every field filled: what a program reads is a document, whatever is in it."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from engager import AlreadyComplete, Began, Ended, Event, Progressed, Reported, Serving, Summary
from engager.config.as_json import as_json
from engager.config.job import JobFile
from engager.endpoint.connectivity import Finding, State
from engager.endpoint.doctor import document_of
from engager.events import ErrorKind
from engager.models import Outcome, Row, Status
from engager.output import logs
from engager.output.webhook import message_of
from engager.run.dry_run import check
from engager.store.tally import Tally
from tests.output.test_progress import NOW

#: The name of a folder that no locale has a text for.
NAME = os.fsdecode(b"runs/\xff")

ERROR = ErrorKind("rejected", "400", 7, 3, "a@x.org", "\ud800 no such scenario")

SUMMARY = Summary(
    job="spring",
    run="77",
    complete=False,
    exit_code=3,
    stopped="the endpoint refuses everything",
    started_at="2026-11-24T08:00:00Z",
    finished_at="2026-11-24T08:01:00Z",
    elapsed_seconds=60.0,
    total_seconds=70.0,
    rows=10,
    statuses=dict.fromkeys(Status, 1),
    errors=[{"status": Status.FAILED, "error": "400", "rows": 1}],
    attempts=11,
    duplicates=2,
    latency_ms={"p50": 1.0},
    waited_ms={"p50": 1.0},
    requests=1001,
)

NOW_FULL = dataclasses.replace(NOW, errors=[ERROR], holders={"operator": "lunch"})

EVENTS: list[Event] = [
    Began(Path(NAME), "77", "spring", True, ["a warning"]),
    Serving("http://127.0.0.1:1/?key=secret"),
    Progressed(dataclasses.replace(NOW_FULL, elapsed_seconds=1e6)),
    AlreadyComplete(Path(NAME), "complete", SUMMARY),
    Ended(Path(NAME), SUMMARY, 7, True),
    Reported(Path(NAME), Path(NAME) / "report.html"),
]


def test_no_event_is_forgotten() -> None:
    assert {type(event) for event in EVENTS} == set(Event.__args__)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_is_a_line_of_the_log(event: Event) -> None:
    records = list[logging.LogRecord]()
    logs.EventLog(records.append)(event)
    line = json.loads(logs.JsonFormatter().format(records[0]))
    assert line["event"].replace("_", "") == type(event).__name__.lower()
    shown = event.snapshot if isinstance(event, Progressed) else event
    assert {field.name for field in dataclasses.fields(shown)} <= line.keys()
    assert "\n" not in logs.TextFormatter("%(message)s").format(records[0])


def test_the_message_to_a_webhook_and_the_summary() -> None:
    message = json.loads(as_json(message_of(SUMMARY, Path(NAME))))
    assert (message["statuses"]["failed"], message["errors"][0]["status"]) == (1, "failed")
    assert json.loads(as_json(SUMMARY.as_dict()))["errors"] == [
        {"status": "failed", "error": "400", "rows": 1}
    ]


def test_a_message_to_the_live_page() -> None:
    message = json.loads(as_json({**dataclasses.asdict(NOW_FULL), "ended": {"stopped": "enough"}}))
    assert message["errors"][0]["row"] == 3
    assert message["statuses"]["engaged"] == 600


def test_what_doctor_found() -> None:
    found = [Finding(state, "seen \ud800", "do this", "name") for state in State]
    assert [one["state"] for one in json.loads(document_of(found))] == [str(state) for state in State]


def test_what_check_found(tmp_path: Path) -> None:
    rows = "a@x.org,A\na@x.org,A\nb@x.org,B\nnobody,C\nd@x.org\ne@x.org,E\n"
    (tmp_path / "people.csv").write_text("email,name\n" + rows)
    (tmp_path / "list.txt").write_text("b@x.org\n")
    (tmp_path / "job.toml").write_text(
        '[job]\nname = "t"\n[endpoint]\nurl = "http://127.0.0.1:9"\ntoken = "env:NOBODY_SETS_IT"\n'
        '[input]\npath = "people.csv"\nunique = true\nexclude = "list.txt"\n'
        '[request]\nid = 12\nemail = "{email}"\n[limits]\nrate = 1\n[window]\nhours = "09:00-20:00"\n'
    )
    reported = json.loads(as_json(check(JobFile(tmp_path / "job.toml"), None, 3).as_dict(), indented=True))
    assert reported["skipped"] == {"repeat": 1, "excluded": 1}
    assert [(kind["error"], kind["rows"]) for kind in reported["invalid"]] == [
        ("malformed", 1),
        ("field_count", 1),
    ]
    assert [name for name, value in reported.items() if not value] == []
    assert [reported[name] for name in ("rows", "sendable", "repeats")] == [6, 2, 1]
    assert len(reported["samples"]) == 2


def test_an_account_of_every_status() -> None:
    tally, row = Tally(), Row(1, 1, "people.csv", ["a"])
    outcomes = [
        Outcome(row, "a@x.org", status, 1, 400, "word", "text", "id", True, 1.0, 2.0) for status in Status
    ]
    lines: list[dict[str, Any]] = [
        {**{name: getattr(one, name) for name in Outcome.__slots__}, "row": 1, "status": str(one.status)}
        for one in outcomes
    ]
    tally.count(lines)
    reported = json.loads(as_json(tally.as_dict()))
    assert reported["statuses"] == {str(status): 1 for status in Status}
    failed = {str(status) for status in Status} - {"engaged", "accepted"}
    assert {kind["status"] for kind in reported["errors"]} == failed


@pytest.mark.parametrize("value", [1 << 80, "\udcff", Path("a"), {Status.FAILED: 1}, [Status.FAILED]])
def test_what_orjson_alone_refuses(value: Any) -> None:
    assert json.loads(as_json({"value": value, "я": "я"}))["я"] == "я"
