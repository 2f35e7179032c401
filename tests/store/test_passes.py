"""A further pass sends failed rows under their last request ids; their previous outcomes are set aside."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engager.errors import RunDirectoryError
from engager.models import AttemptHistory, Status
from engager.reader.outcome_lines import CsvLines, JsonLines, LineFormat, RejectedJson
from engager.store import passes
from engager.store.files.formats import Formats, ResultFormat
from engager.store.history import RowHistory
from engager.store.status import existing_run
from tests.store.stored import finish, make_store, open_store, outcome, request, row, settle


async def run_with_a_failed_row(path: Path, status: Status) -> float:
    """Complete a run whose row 1 has the second version of its id; returns when that id was sent first."""
    store = await open_store(path)
    one = request(1)
    one.history = AttemptHistory(attempts=1, request_id_version=1).departed(store.clock() - 50)
    store.before_send([one])
    await settle(store, outcome(1, status, error=503))
    await finish(store)
    run = existing_run(path)
    run.write_summary({"complete": True})
    passes.ask_for(run, [Status.FAILED, Status.IN_DOUBT])
    assert one.history.first_left is not None
    return one.history.first_left


async def history_of_row(path: Path) -> RowHistory:
    store = await open_store(path)
    known = store.history([row(1)]).known[1]
    store.close()
    return known


async def test_a_failed_row_keeps_its_id_version_and_first_attempt(tmp_path: Path) -> None:
    first_left = await run_with_a_failed_row(tmp_path, Status.FAILED)
    for _ in range(2):  # also after a kill
        request_ = (await history_of_row(tmp_path)).request
        assert request_ is not None
        history = request_.history
        assert (history.request_id_version, history.in_doubt, history.forced) == (1, False, False)
        assert history.first_left is not None
        # Never later than the real moment: otherwise the id would be trusted for too long.
        assert history.first_left <= first_left + 0.001


async def test_a_row_in_doubt_keeps_its_id_version_and_is_forced(tmp_path: Path) -> None:
    await run_with_a_failed_row(tmp_path, Status.IN_DOUBT)
    request_ = (await history_of_row(tmp_path)).request
    assert request_ is not None
    history = request_.history
    assert (history.request_id_version, history.in_doubt, history.forced) == (1, True, True)


@pytest.mark.parametrize("format_", [None, 1, "old"])
async def test_a_run_directory_of_an_earlier_format_is_refused(tmp_path: Path, format_: object) -> None:
    await finish(await open_store(tmp_path))
    record = json.loads((tmp_path / "run.json").read_bytes())
    record["format"] = format_
    (tmp_path / "run.json").write_text(json.dumps(record))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunDirectoryError) as refused:
        make_store(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "that version" in str(refused.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


#: What became of the rows of a run before a pass.
BEFORE = {
    1: Status.ENGAGED,
    2: Status.FAILED,
    3: Status.IN_DOUBT,
    4: Status.FAILED,
    5: Status.REJECTED,
}

#: The statuses that a pass sends again, and the rows that it does.
PASSES = [({Status.FAILED}, {2, 4}), ({Status.FAILED, Status.IN_DOUBT}, {2, 3, 4})]

FILES = ("results", "failed", "in_doubt")

JSON = Formats(JsonLines(), RejectedJson(str), str)


async def run_before_a_pass(path: Path, statuses: set[Status], formats: Formats = JSON) -> dict[str, Any]:
    """Complete a run and ask for a pass; returns the lines of its files."""
    path.mkdir()
    store = await open_store(path, formats=formats)
    await settle(store, *(outcome(number, status, error=status.value) for number, status in BEFORE.items()))
    await finish(store)
    run = existing_run(path)
    run.write_summary({"complete": True})
    passes.ask_for(run, statuses)
    return {name: lines_of(path, name, formats) for name in FILES}


def lines_of(path: Path, name: str, formats: Formats = JSON) -> dict[int, bytes]:
    """The lines of a file, by their rows."""
    of_results = name.startswith("results")
    form: LineFormat = formats.results if of_results else formats.reject
    suffix = Path(formats.results.name).suffix if of_results else formats.reject.suffix
    file = path / f"{name}{suffix}"
    lines = {row: line for row, _, line in form.whole_lines(file)}
    assert not file.exists() or file.read_bytes() == form.head + b"".join(lines.values())
    return lines


def copy_before_each_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Copy a folder before each sync, rename and removal: a kill leaves such a copy, or a torn draft."""
    copies: list[Path] = []

    def copying(owner: Any, name: str) -> None:
        step = getattr(owner, name)

        def copied(*args: Any, **options: Any) -> Any:
            copies.append(path.with_name(f"copy-{len(copies)}"))
            shutil.copytree(path, copies[-1])
            return step(*args, **options)

        monkeypatch.setattr(owner, name, copied)

    for owner, name in ((os, "fsync"), (os, "fdatasync"), (Path, "replace"), (Path, "unlink")):
        copying(owner, name)
    return copies


@pytest.mark.parametrize("results", [JsonLines(), CsvLines()])
@pytest.mark.parametrize(("statuses", "due"), PASSES)
async def test_a_kill_at_any_step_of_the_preparation_is_repaired(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    statuses: set[Status],
    due: set[int],
    results: ResultFormat,
) -> None:
    path, formats = tmp_path / "run", Formats(results, RejectedJson(str), str)
    before = await run_before_a_pass(path, statuses, formats)
    with monkeypatch.context() as patched:
        copies = copy_before_each_step(path, patched)
        (await open_store(path, formats=formats)).close()
    assert len(copies) > 20
    for copy in (*copies, path):
        store = await open_store(copy, formats=formats)
        assert store.history([*map(row, BEFORE)]).due == [*map(row, sorted(due))]
        assert store.tally.statuses == Counter(BEFORE[number] for number in BEFORE.keys() - due)
        assert store.tally.attempts == len(BEFORE)
        store.close()
        for name, lines in before.items():
            aside = lines_of(copy, f"{name}.1", formats)
            assert aside == {number: line for number, line in lines.items() if number in due}
            assert bool(aside) == any(copy.glob(f"{name}.1.*"))  # a file without lines is not made
            assert lines_of(copy, name, formats) | aside == lines
            assert not lines_of(copy, name, formats).keys() & due
        assert not list(copy.glob("*.new"))


async def test_a_pass_that_an_earlier_version_began_is_completed(tmp_path: Path) -> None:
    """It set whole files aside, and was killed after it had written the first new one."""
    path = tmp_path / "run"
    before = await run_before_a_pass(path, {Status.FAILED})
    for name in FILES:
        os.link(path / f"{name}.jsonl", path / f"{name}.1.jsonl")
    (path / "results.jsonl").unlink()
    (path / "results.jsonl").write_bytes(b"".join(before["results"][number] for number in (1, 3, 5)))
    (await open_store(path)).close()
    assert [{*lines_of(path, name)} for name in ("results", "results.1")] == [{1, 3, 5}, {2, 4}]
    assert [{*lines_of(path, name)} for name in ("failed", "failed.1")] == [{5}, {2, 4}]


async def test_a_full_disk_has_no_draft_and_all_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    before = await run_before_a_pass(path, {Status.FAILED})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            make_store(path)
    assert not list(path.glob("*.new"))
    assert {name: lines_of(path, name) for name in FILES} == before


async def test_the_second_pass_sets_its_own_lines_aside(tmp_path: Path) -> None:
    path = tmp_path / "run"
    await run_before_a_pass(path, {Status.FAILED})
    store = await open_store(path)
    await settle(store, outcome(2), outcome(4, Status.FAILED, error=503))
    await finish(store)
    passes.ask_for(existing_run(path), [Status.FAILED])
    (await open_store(path)).close()
    found = [{*lines_of(path, name)} for name in ("results", "results.1", "results.2")]
    assert found == [{1, 2, 3, 5}, {2, 4}, {4}]


async def test_a_pass_that_was_asked_for_twice_has_one_number(tmp_path: Path) -> None:
    """A kill comes after the intent is stored, and before the summary says that rows are left."""
    path = tmp_path / "run"
    await run_before_a_pass(path, {Status.FAILED})
    passes.ask_for(existing_run(path), [Status.FAILED, Status.IN_DOUBT])
    (await open_store(path)).close()
    assert {*lines_of(path, "results.1")} == {2, 3, 4}


async def test_a_due_row_without_its_line_is_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "run"
    before = await run_before_a_pass(path, {Status.FAILED})
    (path / "results.jsonl").write_bytes(b"".join(before["results"][number] for number in (1, 3, 4, 5)))
    store = await open_store(path)
    assert store.history([*map(row, BEFORE)]).due == [row(2), row(4)]
    store.close()
