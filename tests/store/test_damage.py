"""A damaged journal: no row is lost or sent again as if nothing had left, and the damage is reported."""

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
from tests.store.stored import opened, outcome, prepared, request, row, settle

ROWS = [row(number) for number in range(1, 7)]

#: Rows 1 and 2 are settled, 3 and 4 are in one request in flight, 5 is in flight, and of 6 nothing has left.
SETTLED, IN_FLIGHT, UNTOUCHED = (1, 2), (3, 4, 5), 6


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here depends on a sync, and there are thousands."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda descriptor: None)


async def run(path: Path, turns: bool) -> Path:
    """A run that was killed; `turns`: its journal was begun anew before."""
    path.mkdir()
    store = await opened(path)
    store.before_send([request(1), request(2)])
    await settle(store, outcome(1))
    await store.flush()
    if turns:
        limit, journal.LIMIT = journal.LIMIT, 0
        await store.refresh()
        journal.LIMIT = limit
        assert (path / "journal.1").exists()
    await settle(store, outcome(2, Status.FAILED, error=503))
    store.before_send([request(3, 4), request(5)])
    shutil.copytree(path, path.with_name("killed"))
    store.close()
    return path.with_name("killed")


def resumed(path: Path) -> dict[int, RowHistory]:
    store = prepared(path)
    known = store.history(ROWS).known
    store.close()
    lines = [json.loads(line)["row"] for line in (path / "results.jsonl").read_bytes().splitlines()]
    assert len(lines) == len(set(lines))
    return dict(known)


def copies(killed: Path, name: str, contents: Iterator[bytes]) -> Iterator[Path]:
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


def flipped(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[:at] + bytes((data[at] ^ (1 << at % 8),)) + data[at + 1 :]


@pytest.mark.parametrize("name", journal.NAMES)
async def test_every_byte_flipped(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    killed = await run(tmp_path / "run", turns=True)
    shutil.copytree(killed, killed.with_name("whole"))
    whole = resumed(killed.with_name("whole"))
    assert set(whole) == {*IN_FLIGHT, UNTOUCHED}
    assert is_safe(whole)
    for copy in copies(killed, name, flipped((killed / name).read_bytes())):
        caplog.clear()
        try:
            known = resumed(copy)
        except RunDirectoryError:
            continue  # refused, which the operator cannot miss
        assert is_safe(known)
        assert known[UNTOUCHED].request is None
        if known != whole:
            assert any(record.levelno == logging.WARNING for record in caplog.records)


async def test_a_tail_torn_at_every_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the last frame it is a kill's; before it, a disk lost what it had confirmed."""
    killed = await run(tmp_path / "run", turns=False)
    data = (killed / "journal.0").read_bytes()
    torn = [data[:length] for length in range(len(data))]
    last = None
    for copy, content in zip(copies(killed, "journal.0", iter(torn)), torn, strict=True):
        caplog.clear()
        try:
            known = resumed(copy)
        except RunDirectoryError:
            assert last is None  # while there is not one frame
            continue
        last = known
        if 1 in known:  # its line stands in the files
            one = known[1].request
            assert one is not None
            assert one.history.in_doubt, len(content)
            assert any(record.levelno == logging.WARNING for record in caplog.records)
    assert last is not None
    assert not {*SETTLED} & {*last}
