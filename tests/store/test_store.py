"""Outcomes on disk: complete, never overwritten, readable by their owner only."""

from __future__ import annotations

import csv
import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest

from engager.config.secret import Secret
from engager.errors import RecordingError
from engager.models import Outcome, Row, Status, Unreadable
from engager.output.report.lines import ResultLines
from engager.reader.outcome_fields import RESULT_COLUMNS, result_fields
from engager.reader.outcome_lines import CsvLines, JsonLines, RejectedCsv, RejectedJson, TextForm
from engager.reader.results import results_of
from engager.store.files.formats import Formats
from engager.store.opening import begin, resume
from engager.store.run_directory import new_run
from engager.store.status import existing_run, read_status
from engager.store.store import CHUNK, StoreOptions
from tests.store.stored import finish, open_store, request, settle

COLUMNS = ("email", "name", "engager_error")


def read_csv(path: Path, encoding: str = "utf-8", delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding=encoding) as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def unchanged(text: str) -> str:
    return text


CSV = RejectedCsv(COLUMNS, ",", TextForm(), unchanged)


def outcome(number: int, status: Status = Status.ENGAGED, values: object = None, **fields: object) -> Outcome:
    row = Row(number, number + 1, "people.csv", values or [f"p{number}@x.org", 'Ann, "A"\n', "old"])  # type: ignore[arg-type]
    return Outcome(row, f"p{number}@x.org", status, 1, **fields)  # type: ignore[arg-type]


async def test_each_outcome_is_one_line(tmp_path: Path) -> None:
    store = await open_store(tmp_path, CSV)
    for number in range(1, 3 * CHUNK + 7):
        await settle(store, outcome(number))
    await finish(store)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_bytes().splitlines()]
    assert [line["row"] for line in lines] == list(range(1, 3 * CHUNK + 7))
    assert tuple(lines[0]) == RESULT_COLUMNS


@pytest.mark.parametrize("results", ["jsonl", "csv"])
async def test_a_run_of_an_earlier_version_keeps_its_columns(tmp_path: Path, results: str) -> None:
    run = replace(new_run(tmp_path), identity={"output": {"results": results}}, format=2)
    form = JsonLines() if results == "jsonl" else CsvLines(run.columns)
    options = StoreOptions(Formats(form, CSV, unchanged, run.columns), synced=False, token="")
    for number, opening in enumerate((begin, resume, resume), 1):
        store = opening(existing_run(tmp_path) if number > 1 else run, options)
        store.start(attempts=1)
        await settle(store, outcome(number, error_text="\ud800"))
        await store.flush() if number == 2 else await finish(store)
        store.close()
    if results == "csv":
        lines: list[dict[str, Any]] = [*read_csv(run.results_path)]
    else:
        lines = [json.loads(line) for line in run.results_path.read_bytes().splitlines()]
    assert [tuple(line) for line in lines] == [RESULT_COLUMNS[:-1]] * 3
    assert [one.row for one in results_of(run.results_path)] == [1, 2, 3]
    found = ResultLines(run)
    assert ([str(line["row"]) for line in found], found.damaged) == (["1", "2", "3"], 0)


async def test_a_flush_appends_to_the_result_files(tmp_path: Path) -> None:
    store = await open_store(tmp_path, CSV)
    await settle(store, outcome(1))
    await store.flush()
    assert (tmp_path / "results.jsonl").read_bytes().count(b"\n") == 1
    await finish(store)


async def test_an_outcome_survives_a_kill_after_one_round_of_the_loop(tmp_path: Path) -> None:
    """Also if no request leaves after it: an outcome does not wait for the next one."""
    store = await open_store(tmp_path, CSV)
    store.before_send([request(1)])
    assert store.after([outcome(1)]) is None
    for _ in range(3):
        await anyio.lowlevel.checkpoint()
    assert read_status(existing_run(tmp_path))["rows"] == 1
    again = await open_store(tmp_path, CSV)  # as after a kill: the first was never closed
    await finish(again)
    assert (tmp_path / "results.jsonl").read_bytes().count(b"\n") == 1


async def test_one_write_has_outcomes_before_requests(tmp_path: Path) -> None:
    store = await open_store(tmp_path, CSV)
    store.before_send([request(1), request(2)])
    await settle(store, outcome(1))
    store.before_send([request(3)])
    seen = read_status(existing_run(tmp_path))
    assert (seen["rows"], seen["open"], seen["attempts"]) == (1, 2, 1)
    store.close()


async def test_a_full_chunk_waits_for_the_disk(tmp_path: Path) -> None:
    store = await open_store(tmp_path, CSV)
    waiting = []
    for number in range(1, 2 * CHUNK + 3):
        if (writing := store.after([outcome(number)])) is not None:
            waiting.append((number, writing))
    assert [number for number, _ in waiting] == [CHUNK, 2 * CHUNK, 2 * CHUNK + 1, 2 * CHUNK + 2]
    for _, writing in waiting:
        await writing
    await finish(store)


async def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    store = await open_store(tmp_path, CSV)
    for number, status in enumerate(Status, 1):
        await settle(store, outcome(number, status))
    await finish(store)
    files = {file for file in tmp_path.rglob("*") if file.is_file()}
    assert {"results.jsonl", "failed.csv", "in_doubt.csv", "journal.0", "run.json"} <= {f.name for f in files}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


async def test_the_rejected_rows_file_has_the_rows_that_were_not_engaged(tmp_path: Path) -> None:
    store = await open_store(tmp_path, CSV)
    for number, status in enumerate(Status, 1):
        await settle(store, outcome(number, status, error="why", error_text="because"))
    broken = Unreadable(9, 10, "people.csv", "field_count", "2 fields, 3 expected", "a,b")
    await settle(store, Outcome(broken, None, Status.INVALID, error="field_count", error_text="2 fields"))
    await finish(store)
    rows = read_csv(tmp_path / "failed.csv")
    assert [row["engager_status"] for row in rows] == ["rejected", "failed", "invalid", "invalid"]
    assert rows[0]["name"] == 'Ann, "A"\n'
    assert rows[0]["engager_error"] == "why"
    assert (rows[3]["email"], rows[3]["engager_raw"], rows[3]["engager_line"]) == ("", "a,b", "10")
    # A row that may be engaged must not be corrected and sent again by mistake.
    doubtful = read_csv(tmp_path / "in_doubt.csv")
    assert [row["engager_status"] for row in doubtful] == ["in_doubt"]


async def test_the_rejected_rows_file_has_the_dialect_of_the_input(tmp_path: Path) -> None:
    store = await open_store(tmp_path, RejectedCsv(("почта", "имя"), ";", TextForm("cp1251"), unchanged))
    await settle(store, outcome(1, Status.FAILED, ["a@x.org", "Анна"], error_text="今日は"))
    await finish(store)
    (row,) = read_csv(tmp_path / "failed.csv", "cp1251", ";")
    assert (row["почта"], row["имя"]) == ("a@x.org", "Анна")


async def test_rejected_objects_keep_their_types(tmp_path: Path) -> None:
    store = await open_store(tmp_path, RejectedJson(unchanged))
    values = {"email": "a@x.org", "order": {"lines": [1, None, True]}, "engager_error": "old"}
    await settle(store, outcome(1, Status.FAILED, values, error="new"))
    await finish(store)
    line = json.loads((tmp_path / "failed.jsonl").read_text())
    assert line["order"] == values["order"]
    assert line["engager_error"] == "new"


def nested(depth: int) -> object:
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize("value", [nested(300), "\ud800", 1 << 70], ids=["deep", "half", "big"])
async def test_a_row_that_cannot_be_stored_loses_no_other_row(tmp_path: Path, value: object) -> None:
    store = await open_store(tmp_path, RejectedJson(unchanged))
    why = {"error": "word", "error_text": "\udfff"}
    await settle(store, outcome(1, Status.INVALID, {"email": "a", "x": value}, **why))
    await settle(store, outcome(2, Status.INVALID, {"email": "b"}))
    await finish(store)
    bad, good = [json.loads(line) for line in (tmp_path / "failed.jsonl").read_bytes().splitlines()]
    assert (bad["engager_row"], bad["engager_line"], bad["engager_error"]) == (1, 2, "word")
    assert bad["engager_raw"].startswith("{'email': 'a'")
    assert (good["engager_row"], good["email"]) == (2, "b")
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_bytes().splitlines()]
    assert [(line["row"], line["status"]) for line in results] == [(1, "invalid"), (2, "invalid")]


async def test_a_file_at_the_size_limit_of_the_system_is_reported(tmp_path: Path) -> None:
    store = await open_store(tmp_path, CSV)
    await settle(store, outcome(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(RecordingError, match="File too large"):
            await store.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_token_is_redacted_before_a_text_is_truncated() -> None:
    secret = Secret("s3cr3t-t0ken")
    text = "x" * 495 + "s3cr3t-t0ken"
    reported = result_fields(outcome(1, error_text=text), secret.redact)["error_text"]
    assert "s3cr" not in reported
    assert reported.endswith("x***")


@pytest.mark.parametrize("status", Status)
async def test_the_failure_threshold_counts_rows_that_failed(tmp_path: Path, status: Status) -> None:
    store, counted = await open_store(tmp_path, CSV), list[str]()
    store.failing = lambda _, kind: counted.append(kind)
    await settle(store, outcome(1, status, error=400))
    await finish(store)
    is_success = status in (Status.ENGAGED, Status.ACCEPTED, Status.SKIPPED)
    assert counted == ([] if is_success else [f"{status}: 400"])


def test_a_token_in_a_reference_is_redacted() -> None:
    fields = result_fields(outcome(1, reference="x" * 90 + "s3cr3t-t0ken"), Secret("s3cr3t-t0ken").redact)
    assert fields["reference"] == "x" * 90 + "***"


def test_results_are_written_as_csv() -> None:
    fields = result_fields(outcome(1, error=0, duplicate=True, latency_ms=1.23456, reference="7"), unchanged)
    lines = CsvLines.head + CsvLines().line(orjson.dumps(fields))
    head, line = csv.reader(lines.decode().splitlines())
    reported = dict(zip(head, line, strict=True))
    assert tuple(head) == RESULT_COLUMNS
    assert (reported["status"], reported["duplicate"], reported["latency_ms"]) == ("engaged", "true", "1.235")
    assert reported["reference"] == "7"
