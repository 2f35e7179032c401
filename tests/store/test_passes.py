"""A further pass sends a failed row under its last request id, while the endpoint may remember it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engager.errors import RunDirectoryError
from engager.models import AttemptHistory, Status
from engager.store import passes
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
