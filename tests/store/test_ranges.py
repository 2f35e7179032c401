"""Requests that carry several rows: repeated unchanged, and settled in one write."""

from __future__ import annotations

import json
import shutil
from math import inf
from pathlib import Path
from typing import Any

import pytest

from engager.models import AttemptHistory, EngageRequest, Outcome, Skipped, Status, Withdrawn
from engager.store import passes
from engager.store.status import existing_run, read_status
from tests.store.stored import finish, make_store, open_store, outcome, request, row, settle


async def test_a_row_belongs_to_the_open_request_of_an_earlier_process(
    tmp_path: Path,
) -> None:
    store = await open_store(tmp_path)
    one = request(3, 9)
    one.history = one.history.departed(store.clock())
    store.before_send([request(1), one])
    store.close()
    store = await open_store(tmp_path)
    history = store.history([row(number) for number in range(4, 8)])
    found = [history.known[number].request for number in range(4, 8)]
    assert [(each.first, each.last) for each in found if each] == [(3, 9)] * 4
    (work,) = history.applied([request(5)])
    assert isinstance(work, EngageRequest)
    assert (work.history.in_doubt, work.history.attempts) == (True, 1)
    assert store.history([row(10)]).known[10].request is None
    store.close()


async def test_a_settled_row_stays_in_its_open_request(
    tmp_path: Path,
) -> None:
    """A repeat has the same bytes only if it carries the same rows, settled ones included."""
    store = await open_store(tmp_path)
    store.before_send([request(1, 3)])
    await settle(store, outcome(2, Status.REJECTED))
    await finish(store)
    store = await open_store(tmp_path)
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


async def test_a_torn_write_of_a_response_settles_no_row(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    store = await open_store(tmp_path / "run")
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
        again = make_store(copy)
        known = again.history([row(number) for number in range(1, 6)]).known
        ranges = {
            number: (one.request.first, one.request.last) for number, one in known.items() if one.request
        }
        found.append(ranges)
        again.close()
        shutil.rmtree(copy)
    store.close()
    as_sent, settled = dict.fromkeys(range(1, 6), (1, 5)), {3: (3, 4), 4: (3, 4)}
    assert [found[0], found[-1]] == [as_sent, settled]
    assert all(each in (as_sent, settled) for each in found)


async def test_a_row_that_is_skipped_now_is_in_doubt_if_it_was_in_flight(
    tmp_path: Path,
) -> None:
    store = await open_store(tmp_path)
    store.before_send([request(1), request(2, 4)])
    store.close()
    store = await open_store(tmp_path)
    history = store.history([row(number) for number in range(1, 5)])
    skipped = [Skipped(row(number), f"p{number}@x.org", "excluded", "in a list") for number in (1, 3)]
    alone, member = history.applied([*skipped])
    assert isinstance(alone, Withdrawn)
    assert isinstance(member, Withdrawn)
    assert (alone.last, member.last) == (1, 4)
    assert {alone.outcome.status, member.outcome.status} == {Status.IN_DOUBT}
    store.close()


async def test_a_row_that_an_earlier_process_withdrew_is_withdrawn_again(tmp_path: Path) -> None:
    """That process was killed before it settled the other rows of the batch."""
    store = await open_store(tmp_path)
    store.before_send([request(1, 3)])
    store.close()
    store = await open_store(tmp_path)
    await settle(store, outcome(2, Status.IN_DOUBT))
    store.close()
    store = await open_store(tmp_path)
    history = store.history([row(number) for number in (1, 2, 3)])
    (again,) = history.applied([Skipped(row(2), "p2@x.org", "excluded", "in a list")])
    assert isinstance(again, Withdrawn)
    assert (again.last, again.outcome.status) == (3, Status.IN_DOUBT)
    store.close()


@pytest.mark.parametrize("status", [Status.INVALID, Status.SKIPPED])
async def test_a_row_that_was_in_no_request_is_in_none_that_is_repeated(
    tmp_path: Path, status: Status
) -> None:
    """It was too large for a batch, and fits into one by now."""
    store = await open_store(tmp_path)
    await settle(store, outcome(2, status))
    store.before_send([request(1, 3)])
    store.close()
    store = await open_store(tmp_path)
    history = store.history([row(number) for number in (1, 2, 3)])
    works = history.applied([request(1), request(2), request(3)])
    assert [getattr(work, "last", None) for work in works] == [3, None, 3]
    assert isinstance(works[1], Outcome)
    store.close()


async def test_a_part_is_due_also_if_its_first_row_is_settled(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    store.before_send([request(1, 4)])
    await settle(store, outcome(1, Status.IN_DOUBT))
    store.close()
    store = await open_store(tmp_path)
    part = request(1, 2)
    part.members = [request(1), request(2)]
    part.history = AttemptHistory(attempts=1, request_id_version=1)
    store.after([outcome(3), outcome(4)], due=[part])
    store.before_send([])
    store.close()
    store = await open_store(tmp_path)
    known = store.history([row(number) for number in range(1, 5)]).known
    assert known[2].request is not None
    assert (known[2].request.last, known[2].request.history.request_id_version) == (2, 1)
    assert not known[2].request.history.in_doubt
    store.close()


async def test_a_further_pass_repeats_a_batch_in_doubt_unchanged(tmp_path: Path) -> None:
    """But not a batch with a settled row: its other rows would be engaged twice."""
    store = await open_store(tmp_path)
    store.before_send([request(1, 3), request(4, 6)])
    doubt: dict[str, Any] = {"request_id": "id-1"}
    other: dict[str, Any] = {"request_id": "id-4"}
    await settle(store, *(outcome(number, Status.IN_DOUBT, **doubt) for number in (1, 2, 3)))
    await settle(store, outcome(4, **other), *(outcome(n, Status.IN_DOUBT, **other) for n in (5, 6)))
    await finish(store)
    run = existing_run(tmp_path)
    run.write_summary({"complete": True})
    passes.ask_for(run, [Status.IN_DOUBT])
    for _ in range(2):  # also after a kill
        store = await open_store(tmp_path)
        known = store.history([row(number) for number in range(1, 7)]).known
        found = {number: one.request for number, one in known.items() if one.request}
        assert {number: (one.first, one.last) for number, one in found.items()} == {
            **dict.fromkeys((1, 2, 3), (1, 3)),
            5: (5, 5),
            6: (6, 6),
        }
        assert all(one.history.in_doubt and one.history.forced for one in found.values())
        store.close()
        seen = read_status(existing_run(tmp_path))
        assert (seen["open"], seen["pending_retry"]) == (0, 5)


async def test_a_batch_of_which_rows_were_sent_again_is_not_repeated_in_a_further_pass(
    tmp_path: Path,
) -> None:
    """Of the three rows of a response two are in doubt, and the one between them was engaged in a part."""
    store = await open_store(tmp_path)
    store.before_send([request(1, 3), request(4, 6)])
    doubt: dict[str, Any] = {"request_id": "id-1"}
    other: dict[str, Any] = {"request_id": "id-4"}
    await settle(store, *(outcome(number, Status.IN_DOUBT, **doubt) for number in (1, 3)))
    await settle(store, outcome(2, request_id="id-2"), outcome(5, Status.INVALID))
    await settle(store, *(outcome(number, Status.IN_DOUBT, **other) for number in (4, 6)))
    await finish(store)
    run = existing_run(tmp_path)
    run.write_summary({"complete": True})
    passes.ask_for(run, [Status.IN_DOUBT])
    store = await open_store(tmp_path)
    known = store.history([row(number) for number in range(1, 7)]).known
    found = {number: (one.request.first, one.request.last) for number, one in known.items() if one.request}
    assert found == {1: (1, 1), 3: (3, 3), 4: (4, 6), 5: (4, 6), 6: (4, 6)}
    store.close()


@pytest.mark.parametrize("first", [3, 4])
async def test_a_batch_that_a_damaged_journal_has_in_part_is_split(tmp_path: Path, first: int) -> None:
    """The damaged frame said that another request replaced it, which is repeated as it was."""
    store = await open_store(tmp_path)
    store.before_send([request(1, 4)])
    path = tmp_path / "journal.0"
    before = len(path.read_bytes().rstrip(b"\0"))
    store.after([outcome(1), outcome(2)], due=[request(first, 4)])
    store.before_send([])
    end_of_frame = len(path.read_bytes().rstrip(b"\0"))
    store.before_send([request(first, 4)])
    store.close()
    data = bytearray(path.read_bytes())
    data[(before + end_of_frame) // 2] ^= 1
    path.write_bytes(data)
    store = await open_store(tmp_path)
    known = store.history([row(number) for number in range(1, 5)]).known
    requests = [one for number in range(1, 5) if (one := known[number].request)]
    split, kept = requests[: first - 1], requests[first - 1 :]
    assert [(one.first, one.last) for one in split] == [(number, number) for number in range(1, first)]
    assert [(one.first, one.last) for one in kept] == [(first, 4)] * len(kept)
    assert all(one.history.in_doubt for one in requests)
    assert {one.history.first_left for one in split} == {-inf}
    assert -inf not in {one.history.first_left for one in kept}
    store.close()


async def test_requests_are_counted_as_often_as_they_leave_also_after_a_kill(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    batch = request(3, 9)
    batch.history = batch.history.departed(store.clock())
    store.before_send([request(1), request(2), batch])
    assert store.state.rows_in_flight == 9
    batch.history = batch.history.ended()
    store.after([outcome(1), outcome(2)], due=[batch])
    for _ in range(2):  # the first time there is no connection
        store.before_send([batch])
    assert store.state.rows_in_flight == 7
    times: Any = {"latency_ms": 20.0, "waited_ms": 1.0, "request_id": "id-3"}
    store.after([outcome(number, **times) for number in range(3, 9)])
    store.before_send([request(10, 19)])  # nothing is heard of it
    known = store.tally.as_dict()
    assert (known["rows"], known["requests"], store.tally.latency.count) == (8, 5, 1)
    store.close()
    assert read_status(existing_run(tmp_path))["requests"] == 5
    for _ in range(2):  # from the frames, then from a snapshot
        store = await open_store(tmp_path)
        assert store.tally.as_dict() == known
        assert store.state.rows_in_flight == 0
        store.close()
