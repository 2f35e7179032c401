"""A further pass sends a failed row under the request id that it had, as long as the endpoint may know it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engager.errors import RunDirectoryError
from engager.models import AttemptHistory, Status
from engager.store import passes
from engager.store.history import RowHistory
from engager.store.status import existing_run
from tests.store.stored import finish, opened, outcome, prepared, request, row, settle


async def failed_once(path: Path, status: Status) -> float:
    """A complete run whose row 1 failed under the second version of its id; when that id left first."""
    store = await opened(path)
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


async def known_of(path: Path) -> RowHistory:
    store = await opened(path)
    known = store.history([row(1)]).known[1]
    store.close()
    return known


async def test_a_failed_row_keeps_its_version_and_when_it_left_first(tmp_path: Path) -> None:
    left = await failed_once(tmp_path, Status.FAILED)
    for _ in range(2):  # also after a kill
        request_ = (await known_of(tmp_path)).request
        assert request_ is not None
        history = request_.history
        assert (history.request_id_version, history.in_doubt, history.forced) == (1, False, False)
        assert history.first_left is not None
        # Never later than the truth: the endpoint is not trusted to remember the id for longer.
        assert history.first_left <= left + 0.001


async def test_a_row_in_doubt_keeps_its_version_and_is_forced(tmp_path: Path) -> None:
    await failed_once(tmp_path, Status.IN_DOUBT)
    request_ = (await known_of(tmp_path)).request
    assert request_ is not None
    history = request_.history
    assert (history.request_id_version, history.in_doubt, history.forced) == (1, True, True)


@pytest.mark.parametrize("form", [None, 1, "ledger"])
async def test_a_run_directory_of_an_earlier_form_is_refused(tmp_path: Path, form: object) -> None:
    await finish(await opened(tmp_path))
    began = json.loads((tmp_path / "run.json").read_bytes())
    began["format"] = form
    (tmp_path / "run.json").write_text(json.dumps(began))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunDirectoryError) as refused:
        prepared(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "that version" in str(refused.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
