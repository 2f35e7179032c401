"""What outlives a power cut: whatever was stored before a sync began that ended, and nothing that never was.

The disk is a model: after a cut, each sector of a file is as of its last sync or as of now. Nothing but the
disk is made up.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from engager.models import AttemptHistory, EngageRequest, Status
from engager.store import clock, journal
from engager.store.row_states import LOST, STATUS_OF, VERSIONS
from engager.store.store import ResultStore
from tests.store.stored import outcome, prepared, request

SECTOR = 512
ROWS = 60
BEGUN = 1_000_000.0
CHOICE = st.integers(0, 7)

#: What is known of a row: nothing, its outcome, or of its request the version and whether it is in doubt.
Known = None | Status | tuple[int, bool]


class Disk:
    """Remembers what it was given to keep."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.kept: dict[Path, bytes] = {}
        replace = Path.replace

        def renamed(source: Path, target: Path) -> Path:
            if source in self.kept:
                self.kept[target] = self.kept.pop(source)
            return replace(source, target)

        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, self.sync)
        patch.setattr(Path, "replace", renamed)

    def sync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_file():
            self.kept[path] = path.read_bytes()

    def cut(self, path: Path, draw: random.Random) -> None:
        """Leave of a file what a power cut may leave of it."""
        now, kept = path.read_bytes(), self.kept.get(path, b"")
        if draw.random() < 0.5:
            now = now[: len(kept)] if len(kept) < len(now) else now
        left = bytearray(now)
        for begin in range(0, len(now), SECTOR):
            part = slice(begin, begin + SECTOR)
            if now[part] != kept[part] and draw.random() < 0.5:
                left[part] = kept[part].ljust(len(now[part]), b"\0")
        path.write_bytes(left)
        self.kept[path] = bytes(left)


class PowerCut(RuleBasedStateMachine):
    """Rows of a run live their lives; now and then the power is gone, or the process."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.loop = pytest.MonkeyPatch(), asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.wall, self.booted, self.boot = BEGUN, BEGUN - 50, 7
        self.patch.setattr(clock, "seconds", lambda: self.wall - self.booted)
        self.patch.setattr(clock, "boot_id", lambda: self.boot)
        self.patch.setattr("engager.store.state.boot_id", lambda: self.boot)
        self.patch.setattr("engager.store.opening.boot_id", lambda: self.boot)
        self.patch.setattr(time, "time", lambda: self.wall)
        self.patch.setattr(journal, "LIMIT", 1500)
        self.disk = Disk(self.patch)
        self.histories: dict[int, list[Known]] = {number: [None] for number in range(1, ROWS + 1)}
        self.held = dict.fromkeys(self.histories, 0)  #: how far it is on the disk
        self.stored = dict.fromkeys(self.histories, 0)  #: how far no kill can take it
        self.left: dict[tuple[int, int], float] = {}  #: when a row's first attempt left under a version
        self.flying: dict[int, EngageRequest] = {}
        self.resting: dict[int, EngageRequest] = {}
        self.marked: list[EngageRequest] = []
        self.begun: tuple[Callable[[], None], dict[int, int], list[EngageRequest]] | None = None
        self.next = 1

    def do(self, call: Callable[[], object]) -> object:
        async def inside() -> object:
            result = call()
            return await result if asyncio.iscoroutine(result) else result

        return self.loop.run_until_complete(inside())

    @initialize()
    def begin(self) -> None:
        self.open()

    def open(self) -> None:
        self.store: ResultStore = prepared(self.folder)
        self.do(lambda: self.store.start(1))
        self.do(self.store.flush)

    def teardown(self) -> None:
        try:
            self.cut_the_power(self.next)
            self.close()
        finally:
            self.patch.undo()
            self.loop.close()
            shutil.rmtree(self.folder)

    def close(self) -> None:
        """End without warning."""
        self.begun = None
        self.store._rows.clear()
        self.store._settlements.clear()
        self.store._records.clear()
        self.store.close()

    def knows(self, number: int, known: Known) -> None:
        self.histories[number].append(known)

    def latest(self) -> dict[int, int]:
        return {number: len(history) - 1 for number, history in self.histories.items()}

    @rule(rows=st.integers(1, 4), later=st.sampled_from((0.0, 0.1, 7.0)))
    def clear_for_the_first_time(self, rows: int, later: float) -> None:
        self.wall += later
        for number in range(self.next, min(self.next + rows, ROWS + 1)):
            self.mark(request(number))
            self.next = number + 1

    @rule(choice=CHOICE)
    @precondition(lambda self: self.resting)
    def clear_again(self, choice: int) -> None:
        number = sorted(self.resting)[choice % len(self.resting)]
        self.mark(self.resting.pop(number))

    def mark(self, one: EngageRequest) -> None:
        one.history = one.history.departed(clock.seconds())
        self.marked.append(one)

    @rule(choice=CHOICE, doubt=st.booleans(), renew=st.booleans())
    @precondition(lambda self: self.flying)
    def fail(self, choice: int, doubt: bool, renew: bool) -> None:
        number = sorted(self.flying)[choice % len(self.flying)]
        one = self.flying.pop(number)
        ended = one.history.ended()
        one.history = ended._replace(in_doubt=ended.in_doubt or doubt)
        if renew:
            one.history = one.history.renewed()
        self.do(lambda: self.store.attempt_ended(one))
        self.resting[number] = one
        self.knows(number, (one.history.request_id_version, one.history.in_doubt))

    @rule(rows=st.integers(1, 4), status=st.sampled_from((*Status, Status.ENGAGED, Status.ENGAGED)))
    @precondition(lambda self: self.flying)
    def settle(self, rows: int, status: Status) -> None:
        for number in sorted(self.flying)[:rows]:
            one = self.flying.pop(number)
            self.do(lambda one=one: self.store.after(outcome(one.row.number, status), one.history))
            self.knows(number, status)

    @rule()
    @precondition(lambda self: self.begun is None)
    def begin_sync(self) -> None:
        leaving = [*self.marked]
        for one in leaving:
            self.knows(one.row.number, (one.history.request_id_version, True))
            self.left.setdefault((one.row.number, one.history.request_id_version), self.wall)
        self.store._leaving = self.marked
        bring = self.do(self.store._begin_sync)
        self.stored = self.latest()
        self.begun = bring, self.latest(), leaving  # type: ignore[assignment]

    @rule()
    @precondition(lambda self: self.begun is not None)
    def end_sync(self) -> None:
        assert self.begun is not None
        bring, self.held, leaving = self.begun
        bring()
        self.begun = None
        self.flying |= {one.row.number: one for one in leaving}

    @rule()
    def append_to_the_files(self) -> None:
        self.do(self.store.flush)
        self.stored = self.latest()

    @rule()
    def begin_anew(self) -> None:
        self.do(self.store._turn)
        self.stored = self.held = self.latest()

    @rule(seed=st.integers(0, 1 << 32))
    def cut_the_power(self, seed: int) -> None:
        draw = random.Random(seed)
        self.close()
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith(("journal", "results", "failed", "in_doubt")):
                self.disk.cut(path, draw)
        self.boot, self.booted, self.wall = self.boot + 1, self.wall + 5, self.wall + 30
        self.open()
        self.look(self.held)

    @rule()
    def kill(self) -> None:
        self.close()
        self.open()
        self.look(self.stored)

    def look(self, held: dict[int, int]) -> None:
        """Hold what is known against what was, and go on from there."""
        for each in (self.flying, self.resting, self.marked):
            each.clear()  # type: ignore[attr-defined]
        lines = Counter(
            json.loads(line)["row"] for line in (self.folder / "results.jsonl").read_bytes().splitlines()
        )
        state = self.store.state
        for number, history in self.histories.items():
            possible = history[held[number] :]
            known, life = self.known(number)
            settled = isinstance(known, Status)
            assert lines[number] == settled or (settled and self.store.missing.lacks(number)), number
            if settled or known is None:
                assert known in possible, (number, known, possible)
            else:
                assert not isinstance(possible[0], Status) or len(possible) > 1, (number, possible)
                self.look_at(number, life, possible)
            self.histories[number] = [known]
            if isinstance(life, AttemptHistory):
                one = request(number)
                one.history = life
                self.resting[number] = one
            elif known is None:
                self.left = {key: when for key, when in self.left.items() if key[0] != number}
        untouched = [number for number, history in self.histories.items() if history == [None]]
        self.next = min(untouched, default=ROWS + 1)
        assert untouched == list(range(self.next, ROWS + 1))
        self.held = dict.fromkeys(self.histories, 0)
        self.stored = dict.fromkeys(self.histories, 0)
        assert state.tally.rows == sum(state.rows.count_statuses().values()) or self.store.missing

    def look_at(self, number: int, life: AttemptHistory | None, possible: list[Known]) -> None:
        """Of a row that is due: the next attempt goes under an id of which all is known, or is in doubt."""
        assert life is not None
        versions = [version for version, _ in filter(_is_open, possible)]  # type: ignore[misc]
        assert life.in_doubt or life.request_id_version in versions, (number, life, possible)
        if possible[0] == (life.request_id_version, True):
            assert life.in_doubt, (number, possible)
        left = self.left.get((number, life.request_id_version), inf)
        if life.in_doubt and life.first_left is not None:
            # Earlier than it was is safe: the endpoint is trusted to remember it for less long.
            assert self.booted + life.first_left <= left + 0.001, (number, life)

    def known(self, number: int) -> tuple[Known, AttemptHistory | None]:
        code = self.store.state.rows[number]
        if (status := STATUS_OF[code]) is not None:
            return status, None
        (work,) = self.store.recalled([request(number)])
        assert isinstance(work, EngageRequest)
        if number in self.store.state.open or code & ~VERSIONS == LOST:
            return (work.history.request_id_version, work.history.in_doubt), work.history
        return None, None


def _is_open(known: Known) -> bool:
    return isinstance(known, tuple)


PowerCut.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, phases=(Phase.generate,)
)
TestPowerCut = PowerCut.TestCase
