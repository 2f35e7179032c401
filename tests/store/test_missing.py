"""Damaged result files: a missing line counts as missing until it is written again."""

from __future__ import annotations

from pathlib import Path

from engager.models import Invalid, Outcome, Status
from engager.store.store import ResultStore
from tests.store.stored import finish, open_store, outcome, row, settle

MANY = range(1, 11)


async def store_without_a_file(path: Path) -> ResultStore:
    """A run whose lines are in the files only, and then one file is removed."""
    store = await open_store(path)
    await settle(store, *(outcome(number, Status.INVALID, error="malformed") for number in MANY))
    await finish(store)
    await finish(await open_store(path))  # its snapshot has no lines
    (path / "failed.jsonl").unlink()
    return await open_store(path)


def known_outcome(store: ResultStore, number: int) -> Outcome:
    history = store.history([row(number)])
    (known,) = history.applied([Invalid(row(number), "x", "malformed", "")])
    assert isinstance(known, Outcome)
    return known


async def test_lines_in_the_journal_are_not_missing(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await settle(store, *(outcome(number, Status.INVALID) for number in MANY))
    await finish(store)
    for name in ("failed.jsonl", "results.jsonl"):
        (tmp_path / name).unlink()
    store = await open_store(tmp_path)
    assert not store.history([row(number) for number in MANY]).due
    await finish(store)
    assert (tmp_path / "failed.jsonl").read_bytes().count(b"\n") == 10


async def test_a_second_missing_file_is_repaired_with_the_first(tmp_path: Path) -> None:
    store = await store_without_a_file(tmp_path)
    store.after([known_outcome(store, 1)])
    store.close()  # a kill: the line is in the journal only
    (tmp_path / "results.jsonl").unlink()
    store = await open_store(tmp_path)
    rows = [row(number) for number in MANY]
    assert store.history(rows).due == rows[1:]
    for name in ("results.jsonl", "failed.jsonl"):
        assert (tmp_path / name).read_bytes().count(b"\n") == 1
    store.close()


async def test_an_interrupted_repair_is_resumed(tmp_path: Path) -> None:
    store = await store_without_a_file(tmp_path)
    store.after([known_outcome(store, 1)])
    await finish(store)
    store = await open_store(tmp_path)
    rows = [row(number) for number in MANY]
    assert store.history(rows).due == rows[1:]
    store.close()
