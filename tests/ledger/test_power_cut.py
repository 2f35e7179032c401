"""What outlives a power cut: whatever was stored before a sync began that ended, and nothing that never was.

The disk is a model: behind a cut, every sector of mapped memory is as of its last sync or as of any store
since, and what was written to the log is there once the write has returned. Nothing but the disk is made up.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engager.ledger import journal, redo
from engager.ledger.journal import Entry, Mark, Mend
from engager.ledger.ledger import Ledger
from engager.ledger.mapped import MappedFile
from engager.ledger.states import SETTLED, State
from engager.model import Life
from engager.store import clock

SECTOR = 512
ROWS = 200
CHOICE = st.integers(0, 7)
BEGUN = 1_000_000.0

#: What is known of a row: nothing, how it was settled, or what a try of it would be told.
Known = State | tuple[int, int, bool] | str | None

#: A try ended, and the disk kept neither that nor what was known before: the row is in doubt for good.
LOST = "lost"


class Disk:
    """Remembers what it was given to keep."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.kept: dict[Path, bytes] = {}
        pwrite = os.pwrite

        def kept_pwrite(descriptor: int, data: memoryview, begin: int) -> int:
            written = pwrite(descriptor, data, begin)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            before = self.kept.get(path, b"")
            self.kept[path] = before[:begin].ljust(begin, b"\0") + bytes(data) + before[begin + len(data) :]
            return written

        patch.setattr(MappedFile, "sync", lambda file: self.keep(file.path))
        patch.setattr(os, "pwrite", kept_pwrite)

    def keep(self, path: Path) -> None:
        self.kept[path] = path.read_bytes()

    def cut(self, path: Path, draw: random.Random) -> None:
        """Leave of a file what a power cut may leave of it."""
        now, kept = path.read_bytes(), self.kept[path]
        if draw.random() < 0.5:
            now = now[: len(kept)]
        left = bytearray(now)
        for begin in range(0, len(now), SECTOR):
            part = slice(begin, begin + SECTOR)
            if now[part] != kept[part] and draw.random() < 0.5:
                left[part] = kept[part].ljust(len(now[part]), b"\0")
        path.write_bytes(left)
        self.keep(path)


class PowerCut(RuleBasedStateMachine):
    """Rows of a run live their lives; now and then the power is gone, or the process."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.folder = Path(tempfile.mkdtemp())
        self.path, self.log = self.folder / "rows", self.folder / "rows.redo"
        self.wall, self.booted, self.boot = BEGUN, BEGUN - 50, 7
        self.patch.setattr(clock, "seconds", lambda: self.wall - self.booted)
        self.patch.setattr(clock, "boot_id", lambda: self.boot)
        self.patch.setattr(time, "time", lambda: self.wall)
        self.patch.setattr(redo, "SIZE", 6 * redo._SECTOR)
        self.patch.setattr(journal, "_HOT", 1 << 13)
        self.disk = Disk(self.patch)
        self.histories: dict[int, list[Known]] = {}
        self.stored: dict[int, int] = {}  #: how far a row's history is where no kill can take it
        self.held: dict[int, int] = {}  #: how far it is on the disk
        self.lives: dict[int, Life] = {}
        #: When the first try of a row and its generation left, on the wall clock.
        self.left: dict[tuple[int, int], float] = {}
        self.marked: set[int] = set()  #: rows that may leave as soon as that is on the disk
        self.flying: set[int] = set()
        self.lines: dict[int, int] = {}  #: of rows in the files
        self.pending: list[int] = []
        self.mark = Mark()
        self.begun: tuple[Callable[[], None], dict[int, int], set[int]] | None = None
        self.numbers = count()
        self.seed = 0  #: for the cut at the end

    @initialize(seed=st.integers(0, 1 << 32))
    def begin(self, seed: int) -> None:
        self.seed = seed
        Ledger.make(self.path, 1, 1 << 10)
        self.open()

    def teardown(self) -> None:
        try:
            self.get_under_way()
            self.cut_the_power(self.seed, torn=bool(self.seed % 2))
        finally:
            self.ledger.close()
            self.patch.undo()
            shutil.rmtree(self.folder)

    def open(self) -> None:
        self.ledger = Ledger(self.path, synced=True)
        self.ledger.rows.reach(ROWS)
        entries = self.ledger.recover(self.mark, 0.0, True, BEGUN - self.booted)
        self.pending = [entry.row for entry in entries]
        self.is_under_way, self.steps = False, 0

    @invariant()
    def count(self) -> None:
        """A short life shows little."""
        self.steps += 1

    def get_under_way(self) -> None:
        """What was recovered comes into the files before anything new."""
        if not self.is_under_way:
            self.is_under_way = True
            self.commit()

    def knows(self, row: int, known: Known) -> None:
        self.histories.setdefault(row, [None]).append(known)

    def state(self, row: int) -> State:
        return self.ledger.rows.of(row)

    @rule(rows=st.integers(1, 4), later=st.sampled_from((0.0, 0.1, 7.0)))
    def leave_for_the_first_time(self, rows: int, later: float) -> None:
        self.wall += later
        first = max(self.histories, default=0) + 1
        for row in range(first, min(first + rows, ROWS + 1)):
            self.leave(row)

    @rule(choice=CHOICE)
    @precondition(lambda self: self.lives.keys() - self.marked - self.flying)
    def leave_again(self, choice: int) -> None:
        self.leave(_one_of(self.lives.keys() - self.marked - self.flying, choice))

    def leave(self, row: int) -> None:
        self.get_under_way()
        life = self.lives.setdefault(row, Life())
        self.left.setdefault((row, life.generation), self.wall)
        life.leaves(clock.seconds())
        self.ledger.leaves(row, life)
        self.marked.add(row)
        self.knows(row, (life.attempts + 1, life.generation, True))

    @rule(choice=CHOICE, doubt=st.booleans(), renew=st.booleans())
    @precondition(lambda self: self.flying)
    def fail(self, choice: int, doubt: bool, renew: bool) -> None:
        row = _one_of(self.flying, choice)
        life = self.lives[row]
        life.attempts += 1
        life.in_doubt |= doubt
        if renew:
            life.renew()
        self.ledger.answered(row, life)
        self.flying.discard(row)
        self.knows(row, (life.attempts, life.generation, life.in_doubt))

    @rule(
        rows=st.integers(1, 4), size=st.sampled_from((10, 700, 3000)), state=st.sampled_from(sorted(SETTLED))
    )
    @precondition(lambda self: self.flying)
    def settle(self, rows: int, size: int, state: State) -> None:
        for row in sorted(self.flying)[:rows]:
            result = orjson.dumps({"row": row, "text": f"{next(self.numbers)}" * size}) + b"\n"
            if self.ledger.settle(Entry(row, state, result, Mend.NONE, b"")):
                self.pending.append(row)
                self.flying.discard(row)
                del self.lives[row]
                self.knows(row, state)

    @rule()
    @precondition(lambda self: self.is_under_way)
    def keep(self) -> None:
        self.ledger.keep()
        self.stored = self.latest()

    @rule()
    @precondition(lambda self: self.begun is None and self.is_under_way)
    def begin_sync(self) -> None:
        self.begun = self.ledger.sync(), self.latest(), set(self.marked)
        self.stored = self.latest()

    @rule()
    @precondition(lambda self: self.begun is not None)
    def end_sync(self) -> None:
        assert self.begun is not None
        bring, held, leaving = self.begun
        bring()
        self.held, self.begun = held, None
        self.flying |= leaving
        self.marked -= leaving

    def hold(self) -> None:
        if self.begun is not None:
            self.end_sync()
        self.begin_sync()
        self.end_sync()

    @rule()
    def give_slots(self) -> None:
        self.wall += 0.5
        self.get_under_way()
        self.ledger.give_slots()
        self.hold()
        self.ledger.move_horizon()

    @rule()
    def commit(self) -> None:
        self.keep()
        mark, rows = self.ledger.journal.mark, self.pending
        self.pending = []
        self.hold()
        for row in rows:  # the files are synced, and the book behind them
            self.lines[row] = self.lines.get(row, 0) + 1
        self.mark = mark
        self.ledger.journal.release(mark)

    @rule(seed=st.integers(0, 1 << 32), torn=st.booleans())
    @precondition(lambda self: self.is_under_way and self.steps > 5)
    def cut_the_power(self, seed: int, torn: bool) -> None:
        draw = random.Random(seed)
        if self.begun is not None and torn:
            written = self.disk.kept[self.log]
            self.begun[0]()
            self.disk.kept[self.log] = written
        self.end()
        self.disk.cut(self.path, draw)
        self.disk.cut(self.log, draw)
        self.boot, self.booted, self.wall = self.boot + 1, self.wall + 5, self.wall + 30
        self.open()
        self.look(self.held)

    @rule()
    @precondition(lambda self: self.is_under_way and self.steps > 5)
    def kill(self) -> None:
        self.end()
        self.open()
        self.look(self.stored)

    def end(self) -> None:
        """End without warning."""
        self.begun = None
        self.ledger._engaged.clear()
        self.ledger.close()

    def latest(self) -> dict[int, int]:
        return {row: len(history) - 1 for row, history in self.histories.items()}

    def look(self, held: dict[int, int]) -> None:
        """Hold what is known against what was, and go on from there."""
        self.lives.clear()
        self.marked.clear()
        self.flying.clear()
        for row in range(1, ROWS + 1):
            history = self.histories.get(row, [None])[held.get(row, 0) :]
            known = self.known(row, may_be_lost=len(history) > 1 or LOST in history)
            assert known == LOST or known in history, (row, known, history)
            if known is not None or row in self.histories:
                self.histories[row] = [known]
            if isinstance(known, State):
                lines = self.lines.get(row, 0) + self.pending.count(row)
                assert lines == 1 or (len(history) > 1 and not lines), row
                if not lines:
                    self.lines[row] = 1  # a run writes a line that was lost again
        self.held = dict.fromkeys(self.histories, 0)
        self.stored = dict.fromkeys(self.histories, 0)

    def known(self, row: int, may_be_lost: bool) -> Known:
        state = self.state(row)
        if state in SETTLED:
            return state
        if state is State.UNTOUCHED:
            self.left.pop((row, 0), None)
            return None
        if may_be_lost and row not in self.ledger.open_rows:
            self.lives[row] = Life(1, 0, float("-inf"), in_doubt=True)  # as a run takes it
            self.left[row, 0] = float("-inf")
            return LOST
        life = self.lives[row] = self.ledger.open_rows.pop(row)
        if life.in_doubt:
            assert life.first_left is not None
            # Earlier than it was is safe: the endpoint is trusted to remember it for less long.
            assert self.booted + life.first_left <= self.left[row, life.generation] + 0.001
        return life.attempts, life.generation, life.in_doubt


def _one_of(rows: Iterable[int], choice: int) -> int:
    found = sorted(rows)
    return found[choice % len(found)]


PowerCut.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestPowerCut = PowerCut.TestCase
