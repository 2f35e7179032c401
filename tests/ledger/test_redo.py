"""The redo log: what was added is found again, up to what is not whole; and the ledger stores it again."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from engager.errors import RecordingError
from engager.ledger import redo
from engager.ledger.journal import Entry, Mark, Mend
from engager.ledger.ledger import Ledger
from engager.ledger.redo import Block, RedoLog
from engager.ledger.slots import CHECKED
from engager.ledger.states import State
from engager.model import Life

BLOCKS = [
    Block([1, 2, 3], [], []),
    Block([], [(64, b"s" * CHECKED)], [(0, b"first"), (900, b"")]),
    Block([1 << 40], [], [(7, b"x" * 9000)]),
]


def rows(*rows: int) -> Block:
    return Block(list(rows), [], [])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.redo"


def add(log: RedoLog, block: Block) -> None:
    bring = log.add(block)
    assert bring is not None
    bring()


def filled(path: Path) -> RedoLog:
    log = RedoLog(path)
    for block in BLOCKS:
        add(log, block)
    return log


def test_what_was_added_is_found_again(path: Path) -> None:
    log = filled(path)
    assert list(log.blocks()) == list(RedoLog(path).blocks()) == BLOCKS
    assert path.stat().st_mode & 0o777 == 0o600


def test_where_the_cache_of_the_system_cannot_be_passed_it_is_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system_open = os.open

    def refusing(name: Path, flags: int, *rest: Any) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return system_open(name, flags, *rest)

    monkeypatch.setattr(os, "open", refusing)
    assert list(filled(path).blocks()) == BLOCKS


@pytest.mark.parametrize("sector", range(5))
def test_what_is_not_whole_ends_it(path: Path, sector: int) -> None:
    filled(path).close()
    with path.open("r+b") as file:
        file.seek(sector * 4096)
        file.write(b"\0" * 8)
    # Of a stretch of the journal, the journal's own checksums tell.
    assert len(list(RedoLog(path).blocks())) == min(sector, 3)


def test_a_log_that_is_full_begins_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redo, "SIZE", 2 * 4096)
    log = RedoLog(path)
    for row in (1, 2):
        add(log, rows(row))
    assert log.add(rows(3)) is None
    assert list(log.blocks()) == [rows(1), rows(2)]
    log.begin_anew()
    add(log, rows(4))
    assert list(log.blocks()) == [rows(4)]


def test_what_is_forgotten_is_not_found_again(path: Path) -> None:
    log = filled(path)
    log.forget()
    assert list(log.blocks()) == [rows()]
    add(log, rows(5))
    assert list(RedoLog(path).blocks()) == [rows(), rows(5)]


def test_without_space_it_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(redo, "sync_folder", full)
    with pytest.raises(RecordingError, match="cannot be kept: No space left"):
        RedoLog(path)


def test_a_log_that_was_taken_away_is_told(path: Path) -> None:
    log = RedoLog(path)
    path.unlink()
    with pytest.raises(RecordingError, match="was removed"):
        log.refuse_vanished()


def opened(path: Path, mark: Mark | None = None) -> Ledger:
    if not path.exists():
        Ledger.make(path, 1, 1 << 10)
    ledger = Ledger(path, synced=True)
    ledger.rows.reach(9)
    ledger.recover(mark or Mark(), 0.0, True, 0.0)
    return ledger


def test_what_a_block_says_is_no_news_of_a_row_that_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redo, "SIZE", 2 * 4096)
    ledger = opened(tmp_path / "rows")
    ledger.leaves(3, Life(first_left=1.0))
    ledger.sync()()
    ledger.settle(Entry(3, State.ENGAGED, b'{"row":3}\n', Mend.NOWHERE, b""))
    ledger.sync()()  # there is no room in the log: it goes on saying that the row is in its first try
    mark = ledger.journal.mark
    ledger.close()
    ledger = opened(tmp_path / "rows", mark)
    assert ledger.rows.of(3) == State.ENGAGED
    ledger.close()


def test_a_log_that_an_earlier_process_left_is_carried_out_by_one_that_does_not_sync(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    ledger = opened(path)
    before = path.read_bytes()
    ledger.leaves(3, Life(first_left=1.0))
    ledger.sync()()
    ledger.close()
    path.write_bytes(before)  # the power is cut
    for _ in range(2):
        ledger = Ledger(path)
        ledger.recover(Mark(), 0.0, True, 0.0)
        assert ledger.open_rows[3].in_doubt
        ledger.close()
