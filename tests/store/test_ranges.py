"""Requests that carry several rows: sent again as they were, and answered in one piece."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from engager.models import EngageRequest, Status
from engager.store.status import existing_run, read_status
from tests.store.stored import finish, opened, outcome, prepared, request, row, settle


async def test_a_row_in_the_middle_belongs_to_the_request_that_an_earlier_process_sent(
    tmp_path: Path,
) -> None:
    store = await opened(tmp_path)
    one = request(3, 9)
    one.history = one.history.departed(store.clock())
    store.before_send([request(1), one])
    store.close()
    store = await opened(tmp_path)
    history = store.history([row(number) for number in range(4, 8)])
    found = [history.known[number].request for number in range(4, 8)]
    assert [(each.first, each.last) for each in found if each] == [(3, 9)] * 4
    (work,) = history.applied([request(5)])
    assert isinstance(work, EngageRequest)
    assert (work.history.in_doubt, work.history.attempts) == (True, 1)
    assert store.history([row(10)]).known[10].request is None
    store.close()


async def test_a_settled_row_stays_a_member_of_its_open_request_and_gets_no_second_line(
    tmp_path: Path,
) -> None:
    """A repeat has the same bytes only if it carries the same rows, whatever became of them."""
    store = await opened(tmp_path)
    store.before_send([request(1, 3)])
    await settle(store, outcome(2, Status.REJECTED))
    await finish(store)
    store = await opened(tmp_path)
    history = store.history([row(1), row(2), row(3)])
    assert [history.known[number].status for number in (1, 2, 3)] == [None, Status.REJECTED, None]
    await settle(store, outcome(1), outcome(2), outcome(3))
    await finish(store)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_bytes().splitlines()]
    assert sorted((line["row"], line["status"]) for line in lines) == [
        (1, "engaged"),
        (2, "rejected"),
        (3, "engaged"),
    ]
    assert read_status(existing_run(tmp_path))["open"] == 0


async def test_an_answer_that_is_torn_at_any_length_settled_none_of_its_rows(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    store = await opened(tmp_path / "run")
    store.before_send([request(1, 5)])
    before = (tmp_path / "run" / "journal.0").read_bytes()
    store.after([outcome(1), outcome(2), outcome(5, Status.REJECTED)], due=[request(3, 4)])
    store.before_send([])
    whole = (tmp_path / "run" / "journal.0").read_bytes()
    found: list[dict[int, tuple[int, int]]] = []
    for length in range(len(before), len(whole) + 1):
        copy = tmp_path / str(length)
        shutil.copytree(tmp_path / "run", copy)
        (copy / "journal.0").write_bytes(whole[:length])
        again = prepared(copy)
        known = again.history([row(number) for number in range(1, 6)]).known
        ranges = {
            number: (one.request.first, one.request.last) for number, one in known.items() if one.request
        }
        found.append(ranges)
        again.close()
        shutil.rmtree(copy)
    store.close()
    as_sent, answered = dict.fromkeys(range(1, 6), (1, 5)), {3: (3, 4), 4: (3, 4)}
    assert [found[0], found[-1]] == [as_sent, answered]
    assert all(each in (as_sent, answered) for each in found)
