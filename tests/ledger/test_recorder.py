"""Outcomes on disk: nothing missing, nothing overwritten, nobody else's business."""

from __future__ import annotations

import asyncio
import csv
import json
import os
from pathlib import Path

import anyio
import anyio.lowlevel
import orjson
import pytest

from engager.errors import RecordingError
from engager.ledger.recorder import CHUNK
from engager.ledger.states import State
from engager.model import EngageRequest, Outcome, Row, Status, Unreadable
from engager.secret import Secret
from engager.store.fields import RESULT_COLUMNS, result_fields
from engager.store.lines import CsvLines, MendableCsv, MendableJson
from tests.ledger.kept import Kept

COLUMNS = ("email", "name", "engager_error")


def read_csv(path: Path, encoding: str = "utf-8", delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding=encoding) as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def keep(text: str) -> str:
    return text


def outcome(number: int, status: Status = Status.ENGAGED, values: object = None, **fields: object) -> Outcome:
    row = Row(number, number + 1, "people.csv", values or [f"p{number}@x.org", 'Ann, "A"\n', "old"])  # type: ignore[arg-type]
    return Outcome(row, f"p{number}@x.org", status, 1, **fields)  # type: ignore[arg-type]


async def test_every_outcome_is_one_line(tmp_path: Path) -> None:
    kept = await Kept.opened(tmp_path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    for number in range(1, 3 * CHUNK + 7):
        await kept.record(outcome(number))
    await kept.finish()
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_bytes().splitlines()]
    assert [line["row"] for line in lines] == list(range(1, 3 * CHUNK + 7))
    assert tuple(lines[0]) == RESULT_COLUMNS


async def test_a_slow_run_shows_in_its_files(tmp_path: Path) -> None:
    kept = await Kept.opened(tmp_path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    await kept.record(outcome(1))
    await kept.recorder.flush()
    assert (tmp_path / "results.jsonl").read_bytes().count(b"\n") == 1
    await kept.finish()


async def in_its_first_try(path: Path) -> Kept:
    kept = await Kept.opened(path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    kept.recorder.due([outcome(1).row])
    kept.recorder.intend(EngageRequest(outcome(1).row, "p1@x.org", "id", (b"{}",)))
    kept.recorder.keep()
    return kept


async def lines_after(kept: Kept, path: Path) -> int:
    """How many there are once the next process is through."""
    kept.close()
    again = await Kept.opened(path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    await again.finish()
    return (path / "results.jsonl").read_bytes().count(b"\n")


async def test_no_kill_takes_an_outcome_once_the_loop_went_round(tmp_path: Path) -> None:
    """Though nothing leaves behind it: nobody waits for the next request to have an answer kept."""
    kept = await in_its_first_try(tmp_path)
    assert kept.recorder.record(outcome(1)) is None
    rows = kept.recorder._ledger.rows
    assert rows.of(1) is State.OPEN
    await anyio.lowlevel.checkpoint()
    assert rows.of(1) is State.ENGAGED
    assert await lines_after(kept, tmp_path) == 1


async def test_what_comes_right_before_a_write_is_written_once(tmp_path: Path) -> None:
    kept, loop = await in_its_first_try(tmp_path), asyncio.get_running_loop()
    # In the very round of the loop in which what is pending is taken.
    loop.call_soon(loop.call_soon, kept.recorder.record, outcome(1))
    await asyncio.create_task(kept.recorder.flush())
    await anyio.lowlevel.checkpoint()
    assert kept.written[-1] == 1
    assert kept.recorder._ledger.journal.since(kept.book.marks[0]) == []  # nothing is left to be written
    assert await lines_after(kept, tmp_path) == 1


async def test_a_crew_that_waits_for_one_write_does_not_write_once_each(tmp_path: Path) -> None:
    kept = await Kept.opened(tmp_path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    before = len(kept.written)
    async with anyio.create_task_group() as crew:
        for number in range(1, CHUNK + 64):
            crew.start_soon(kept.record, outcome(number))
    assert [len(kept.written) - before, kept.written[-1] >= CHUNK] == [1, True]
    await kept.finish()


async def test_those_who_want_it_written_at_once_have_it_written_once(tmp_path: Path) -> None:
    kept = await Kept.opened(tmp_path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    await kept.record(outcome(1))
    before = len(kept.written)
    async with anyio.create_task_group() as crew:
        for _ in range(9):
            crew.start_soon(kept.recorder.flush)
    # The first has begun before the others ask, so that one of those writes for all of them.
    assert kept.written[before:] in ([1], [1, 0])
    await kept.finish()


async def test_the_crew_waits_for_a_disk_that_falls_behind(tmp_path: Path) -> None:
    kept = await Kept.opened(tmp_path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    waiting = []
    for number in range(1, 2 * CHUNK + 3):
        kept.recorder.due([outcome(number).row])
        if (writing := kept.recorder.record(outcome(number))) is not None:
            waiting.append((number, writing))
    assert [number for number, _ in waiting] == [CHUNK, 2 * CHUNK, 2 * CHUNK + 1, 2 * CHUNK + 2]
    for _, writing in waiting:
        await writing
    await kept.finish()


async def test_behind_a_failed_sync_nothing_is_committed(tmp_path: Path) -> None:
    kept = await Kept.opened(tmp_path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    await kept.record(outcome(1))
    faults = [RecordingError("the disk is gone")]

    async def hold() -> None:
        if faults:  # it may tell of a fault once, and then pass over what it lost
            raise faults.pop()

    kept.recorder.hold = hold
    for _ in range(2):
        with pytest.raises(RecordingError, match="gone"):
            await kept.recorder.flush()
    kept.close()
    again = await Kept.opened(tmp_path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    await again.finish()
    assert (tmp_path / "results.jsonl").read_bytes().count(b"\n") == 1


async def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    kept = await Kept.opened(tmp_path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    for number, status in enumerate(Status, 1):
        await kept.record(outcome(number, status))
    await kept.finish()
    files = {file for file in tmp_path.rglob("*") if file.is_file()}
    assert {"results.jsonl", "failed.csv", "in_doubt.csv", "rows", "run.json"} <= {f.name for f in files}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


async def test_rows_that_certainly_were_not_engaged_can_be_mended(tmp_path: Path) -> None:
    kept = await Kept.opened(tmp_path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    for number, status in enumerate(Status, 1):
        await kept.record(outcome(number, status, error="why", error_text="because"))
    broken = Unreadable(9, 10, "people.csv", "field_count", "2 fields, 3 expected", "a,b")
    await kept.record(Outcome(broken, None, Status.INVALID, error="field_count", error_text="2 fields"))
    await kept.finish()
    rows = read_csv(tmp_path / "failed.csv")
    assert [row["engager_status"] for row in rows] == ["rejected", "failed", "invalid", "invalid"]
    assert rows[0]["name"] == 'Ann, "A"\n'
    assert rows[0]["engager_error"] == "why"
    assert (rows[3]["email"], rows[3]["engager_raw"], rows[3]["engager_line"]) == ("", "a,b", "10")
    # What may have been taken is not to be mended and sent by mistake.
    doubtful = read_csv(tmp_path / "in_doubt.csv")
    assert [row["engager_status"] for row in doubtful] == ["in_doubt"]


async def test_the_failed_file_speaks_the_inputs_dialect(tmp_path: Path) -> None:
    kept = await Kept.opened(tmp_path, MendableCsv(("почта", "имя"), ";", "cp1251", keep))
    await kept.record(outcome(1, Status.FAILED, ["a@x.org", "Анна"], error_text="今日は"))
    await kept.finish()
    (row,) = read_csv(tmp_path / "failed.csv", "cp1251", ";")
    assert (row["почта"], row["имя"]) == ("a@x.org", "Анна")


async def test_failed_objects_keep_their_types(tmp_path: Path) -> None:
    kept = await Kept.opened(tmp_path, MendableJson(keep))
    values = {"email": "a@x.org", "order": {"lines": [1, None, True]}, "engager_error": "old"}
    await kept.record(outcome(1, Status.FAILED, values, error="new"))
    await kept.finish()
    line = json.loads((tmp_path / "failed.jsonl").read_text())
    assert line["order"] == values["order"]
    assert line["engager_error"] == "new"


async def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    os.symlink("/dev/full", tmp_path / "full")
    kept = await Kept.opened(tmp_path, MendableCsv(COLUMNS, ",", "utf-8", keep))
    kept.book.files.results._descriptor = os.open(tmp_path / "full", os.O_WRONLY)
    await kept.record(outcome(1))
    with pytest.raises(RecordingError, match="No space left"):
        await kept.recorder.flush()


def test_the_token_is_taken_out_before_a_text_is_cut() -> None:
    secret = Secret("s3cr3t-t0ken")
    text = "x" * 495 + "s3cr3t-t0ken"
    told = result_fields(outcome(1, error_text=text), secret.redact)["error_text"]
    assert "s3cr" not in told
    assert told.endswith("x***")


def test_results_as_csv() -> None:
    fields = result_fields(outcome(1, error=0, duplicate=True, latency_ms=1.23456), keep)
    lines = CsvLines.head + CsvLines().line(orjson.dumps(fields))
    head, line = csv.reader(lines.decode().splitlines())
    told = dict(zip(head, line, strict=True))
    assert tuple(head) == RESULT_COLUMNS
    assert (told["status"], told["duplicate"], told["latency_ms"]) == ("engaged", "true", "1.235")
