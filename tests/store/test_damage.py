"""A damaged journal: no row is lost, no row in doubt is sent as a new one, and the damage is reported."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engager.errors import RunDirectoryError
from engager.models import Status
from engager.store import journal
from engager.store.history import RowHistory
from tests.store.stored import make_store, open_store, outcome, request, row, settle

ROWS = [row(number) for number in range(1, 7)]

#: Rows 1 and 2 are settled, 3 and 4 are in one request in flight, 5 is in flight, and 6 was not sent.
SETTLED, IN_FLIGHT, UNTOUCHED = (1, 2), (3, 4, 5), 6


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the syncs: nothing here depends on them, and there are thousands."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda descriptor: None)


async def run(path: Path, with_snapshot: bool) -> Path:
    """The folder of a killed run; `with_snapshot`: its journal was begun anew before."""
    path.mkdir()
    store = await open_store(path)
    store.before_send([request(1), request(2)])
    await settle(store, outcome(1))
    await store.flush()
    if with_snapshot:
        limit, journal.LIMIT = journal.LIMIT, 0
        await store.refresh()
        journal.LIMIT = limit
        assert (path / "journal.1").exists()
    await settle(store, outcome(2, Status.FAILED, error=503))
    store.before_send([request(3, 4), request(5)])
    shutil.copytree(path, path.with_name("killed"))
    store.close()
    return path.with_name("killed")


def resume(path: Path) -> dict[int, RowHistory]:
    store = make_store(path)
    known = store.history(ROWS).known
    store.close()
    lines = [json.loads(line)["row"] for line in (path / "results.jsonl").read_bytes().splitlines()]
    assert len(lines) == len(set(lines))
    return dict(known)


def damaged_copies(killed: Path, name: str, contents: Iterator[bytes]) -> Iterator[Path]:
    for content in contents:
        copy = killed.with_name("copy")
        shutil.copytree(killed, copy)
        (copy / name).write_bytes(content)
        yield copy
        shutil.rmtree(copy)


def is_safe(known: dict[int, RowHistory]) -> bool:
    """Whether each row is settled, or due under what may have left before."""
    return all(
        number not in known or ((one := known[number].request) is not None and one.history.in_doubt)
        for number in (*SETTLED, *IN_FLIGHT)
    )


def with_flipped_bits(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[:at] + bytes((data[at] ^ (1 << at % 8),)) + data[at + 1 :]


@pytest.mark.parametrize("name", journal.NAMES)
async def test_a_flipped_bit_is_safe_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    killed = await run(tmp_path / "run", with_snapshot=True)
    shutil.copytree(killed, killed.with_name("whole"))
    whole = resume(killed.with_name("whole"))
    assert set(whole) == {*IN_FLIGHT, UNTOUCHED}
    assert is_safe(whole)
    for copy in damaged_copies(killed, name, with_flipped_bits((killed / name).read_bytes())):
        caplog.clear()
        try:
            known = resume(copy)
        except RunDirectoryError:
            continue  # refused: the operator sees it
        assert is_safe(known)
        assert known[UNTOUCHED].request is None
        if known != whole:
            assert any(record.levelno == logging.WARNING for record in caplog.records)


async def test_a_torn_tail_is_safe_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the last frame a kill causes it; before that, a disk that lost synced bytes."""
    killed = await run(tmp_path / "run", with_snapshot=False)
    data = (killed / "journal.0").read_bytes()
    torn = [data[:length] for length in range(len(data))]
    last = None
    for copy, content in zip(damaged_copies(killed, "journal.0", iter(torn)), torn, strict=True):
        caplog.clear()
        try:
            known = resume(copy)
        except RunDirectoryError:
            assert last is None  # there is no complete frame
            continue
        last = known
        if 1 in known:  # its line is in the files
            one = known[1].request
            assert one is not None
            assert one.history.in_doubt, len(content)
            assert any(record.levelno == logging.WARNING for record in caplog.records)
    assert last is not None
    assert not {*SETTLED} & {*last}
