"""Files that were damaged: what they lost is known as lost until it is written again."""

from __future__ import annotations

from pathlib import Path

from engager.models import Invalid, Outcome, Status
from engager.store.store import ResultStore
from tests.store.stored import finish, opened, outcome, row, settle

MANY = range(1, 11)


async def damaged(path: Path) -> ResultStore:
    """Rows whose lines stand in the files, and nowhere else; then a file is lost."""
    store = await opened(path)
    await settle(store, *(outcome(number, Status.INVALID, error="malformed") for number in MANY))
    await finish(store)
    await finish(await opened(path))  # its snapshot holds no lines
    (path / "failed.jsonl").unlink()
    return await opened(path)


def recalled(store: ResultStore, number: int) -> Outcome:
    history = store.history([row(number)])
    (known,) = history.applied([Invalid(row(number), "x", "malformed", "")])
    assert isinstance(known, Outcome)
    return known


async def test_lines_that_are_in_the_journal_are_no_loss(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await settle(store, *(outcome(number, Status.INVALID) for number in MANY))
    await finish(store)
    for name in ("failed.jsonl", "results.jsonl"):
        (tmp_path / name).unlink()
    store = await opened(tmp_path)
    assert not store.history([row(number) for number in MANY]).due
    await finish(store)
    assert (tmp_path / "failed.jsonl").read_bytes().count(b"\n") == 10


async def test_a_second_file_is_lost_before_the_first_has_its_lines_again(tmp_path: Path) -> None:
    store = await damaged(tmp_path)
    store.after([recalled(store, 1)])
    store.close()  # a kill: the line is in the journal only
    (tmp_path / "results.jsonl").unlink()
    store = await opened(tmp_path)
    rows = [row(number) for number in MANY]
    assert store.history(rows).due == rows[1:]
    for name in ("results.jsonl", "failed.jsonl"):
        assert (tmp_path / name).read_bytes().count(b"\n") == 1
    store.close()


async def test_an_interrupted_repair_is_resumed(tmp_path: Path) -> None:
    store = await damaged(tmp_path)
    store.after([recalled(store, 1)])
    await finish(store)
    store = await opened(tmp_path)
    rows = [row(number) for number in MANY]
    assert store.history(rows).due == rows[1:]
    store.close()
