"""What outlives a kill and a power cut: all that was stored before the sync that ended, and nothing else.

The disk is a model: after a cut, each sector of a file is as of its last sync or as of now. Requests carry
one row, or several; nothing but the disk is made up.
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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from math import inf
from pathlib import Path
from threading import Event, current_thread
from typing import NamedTuple

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from engager.errors import RecordingError
from engager.models import AttemptHistory, EngageRequest, Status
from engager.store import clock, journal
from engager.store.history import RowHistory
from tests.store.stored import outcome, prepared, request, row

SECTOR = 512
BEGUN = 1_000_000.0
CHOICE = st.integers(0, 7)


class Opened(NamedTuple):
    """What is known of the request that carries a row."""

    first: int
    last: int
    version: int
    in_doubt: bool


Known = None | Status | Opened


class Disk:
    """Remembers what it was given to store."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.stored: dict[Path, bytes] = {}
        self.syncs = 0
        self.may_end, self.is_gone = Event(), False
        self.may_end.set()
        replace = Path.replace

        def renamed(source: Path, target: Path) -> Path:
            if source in self.stored:
                self.stored[target] = self.stored.pop(source)
            return replace(source, target)

        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, self.sync)
        patch.setattr(Path, "replace", renamed)

    def sync(self, descriptor: int) -> None:
        if current_thread().name == "disk":
            self.may_end.wait()
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_file() and not self.is_gone:
            self.stored[path] = path.read_bytes()
            self.syncs += 1

    def cut(self, path: Path, draw: random.Random) -> None:
        """Leave of a file what a power cut may leave of it."""
        now, stored = path.read_bytes(), self.stored.get(path, b"")
        if draw.random() < 0.5:
            now = now[: len(stored)] if len(stored) < len(now) else now
        left = bytearray(now)
        for begin in range(0, len(now), SECTOR):
            part = slice(begin, begin + SECTOR)
            if now[part] != stored[part] and draw.random() < 0.5:
                left[part] = stored[part].ljust(len(now[part]), b"\0")
        path.write_bytes(left)
        self.stored[path] = bytes(left)


class PowerCut(RuleBasedStateMachine):
    """Requests are sent and answered; now and then the power is gone, or the process."""

    batch = 1  #: rows of a request
    rows = 60

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.loop = pytest.MonkeyPatch(), asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.wall, self.booted, self.boot = BEGUN, BEGUN - 50, 7
        self.patch.setattr(clock, "seconds", lambda: self.wall - self.booted)
        self.patch.setattr(clock, "boot_id", lambda: self.boot)
        self.patch.setattr(time, "time", lambda: self.wall)
        self.patch.setattr(journal, "LIMIT", 1500)
        self.disk = Disk(self.patch)
        self.histories: dict[int, list[Known]] = {number: [None] for number in range(1, self.rows + 1)}
        self.synced = dict.fromkeys(self.histories, 0)  #: how far it is on the disk
        self.stored = dict.fromkeys(self.histories, 0)  #: how far no kill can take it
        self.left: dict[tuple[int, int], float] = {}  #: when a row's first attempt left under a version
        self.flying: dict[int, EngageRequest] = {}
        self.resting: dict[int, EngageRequest] = {}
        self.leaving: list[EngageRequest] = []
        self.begun: tuple[Awaitable[None], dict[int, int], list[EngageRequest]] | None = None
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
        self.disk.is_gone = False
        self.store = prepared(self.folder, synced=True)
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
        """End without warning: nothing more is written."""

        def refuse(descriptor: int, data: bytes, at: int) -> int:
            raise OSError(5, "the process is gone")

        self.disk.is_gone, self.begun = True, None
        self.disk.may_end.set()
        with pytest.MonkeyPatch.context() as patch, suppress(RecordingError):
            patch.setattr(os, "pwrite", refuse)
            self.store.close()

    def knows(self, one: EngageRequest, known: Known) -> None:
        for number in rows_of(one):
            if not isinstance(self.histories[number][-1], Status):
                self.histories[number].append(known)

    def latest(self) -> dict[int, int]:
        return {number: len(history) - 1 for number, history in self.histories.items()}

    @rule(requests=st.integers(1, 4), later=st.sampled_from((0.0, 0.1, 7.0)))
    def clear_for_the_first_time(self, requests: int, later: float) -> None:
        self.wall += later
        for _ in range(requests):
            if self.next <= self.rows:
                last = min(self.next + self.batch - 1, self.rows)
                self.clear(request(self.next, last))
                self.next = last + 1

    @rule(choice=CHOICE)
    @precondition(lambda self: self.resting)
    def clear_again(self, choice: int) -> None:
        number = sorted(self.resting)[choice % len(self.resting)]
        self.clear(self.resting.pop(number))

    def clear(self, one: EngageRequest) -> None:
        one.history = one.history.departed(clock.seconds())
        self.leaving.append(one)

    def landed(self, choice: int) -> EngageRequest:
        one = self.flying.pop(sorted(self.flying)[choice % len(self.flying)])
        one.history = one.history.ended()
        return one

    @rule(choice=CHOICE, doubt=st.booleans(), renew=st.booleans())
    @precondition(lambda self: self.flying)
    def fail(self, choice: int, doubt: bool, renew: bool) -> None:
        one = self.landed(choice)
        one.history = one.history._replace(in_doubt=one.history.in_doubt or doubt)
        if renew:
            one.history = one.history.renewed()
        self.do(lambda: self.store.after((), (one,)))
        self.rest(one)

    def rest(self, one: EngageRequest) -> None:
        self.resting[one.row.number] = one
        self.knows(one, opened_of(one, one.history.in_doubt))

    @rule(choice=CHOICE, seed=st.integers(0, 1 << 32), share=st.sampled_from((1.0, 1.0, 0.7)))
    @precondition(lambda self: self.flying)
    def answer(self, choice: int, seed: int, share: float) -> None:
        """Settle rows of a request; the others are due again, neighbours together."""
        one, draw = self.landed(choice), random.Random(seed)
        due = [number for number in self.open_rows(one) if self.batch > 1 and draw.random() > share]
        statuses = {
            number: draw.choice((*Status, Status.ENGAGED, Status.ENGAGED))
            for number in self.open_rows(one)
            if number not in due
        }
        again = [request(first, last) for first, last in stretches(due)]
        for each in again:
            each.history = AttemptHistory(one.history.attempts, one.history.request_id_version + 1)
        outcomes = [outcome(number, status) for number, status in statuses.items()]
        self.do(lambda: self.store.after(outcomes, again))
        for number, status in statuses.items():
            self.histories[number].append(status)
        for each in again:
            self.rest(each)

    def open_rows(self, one: EngageRequest) -> list[int]:
        return [number for number in rows_of(one) if not isinstance(self.histories[number][-1], Status)]

    @rule()
    @precondition(lambda self: self.begun is None)
    def begin_sync(self) -> None:
        leaving = [*self.leaving]
        for one in leaving:
            self.knows(one, opened_of(one, True))
            for number in rows_of(one):
                self.left.setdefault((number, one.history.request_id_version), self.wall)
        self.disk.may_end.clear()
        synced = self.do(lambda: self.store.before_send(self.leaving))
        assert isinstance(synced, Awaitable)
        assert not self.leaving
        self.stored = self.latest()
        self.begun = synced, self.latest(), leaving

    @rule()
    @precondition(lambda self: self.begun is not None)
    def end_sync(self) -> None:
        assert self.begun is not None
        synced, self.synced, leaving = self.begun
        self.disk.may_end.set()
        self.loop.run_until_complete(synced)
        self.begun = None
        self.flying |= {one.row.number: one for one in leaving}

    @rule()
    def append_to_the_files(self) -> None:
        self.do(self.store.flush)
        self.stored = self.latest()

    @rule()
    def refresh(self) -> None:
        """Where the journal has grown, it is begun anew."""
        syncs = self.disk.syncs
        self.do(self.store.refresh)
        if self.disk.syncs > syncs:
            self.stored = self.synced = self.latest()

    @rule(seed=st.integers(0, 1 << 32))
    def cut_the_power(self, seed: int) -> None:
        draw = random.Random(seed)
        self.close()
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith(("journal", "results", "failed", "in_doubt")):
                self.disk.cut(path, draw)
        self.boot, self.booted, self.wall = self.boot + 1, self.wall + 5, self.wall + 30
        self.open()
        self.inspect(self.synced)

    @rule()
    def kill(self) -> None:
        self.close()
        self.open()
        self.inspect(self.stored)

    def inspect(self, safe: dict[int, int]) -> None:
        """Compare what is known with what was, and continue from there."""
        for each in (self.flying, self.resting, self.leaving):
            each.clear()
        lines = [json.loads(line) for line in (self.folder / "results.jsonl").read_bytes().splitlines()]
        assert max(Counter(line["row"] for line in lines).values(), default=0) <= 1
        settled = {line["row"]: Status(line["status"]) for line in lines}
        history = self.store.history([row(number) for number in self.histories])
        due = {one.number for one in history.due}  # type: ignore[union-attr]
        for number, past in self.histories.items():
            known = self.known(number, history.known.get(number), settled.get(number))
            assert (number in due) == (number not in settled or number in history.known), number
            self.compare(number, known, past[safe[number] :], history.known.get(number))
            self.histories[number] = [known]
            if known is None:
                self.left = {key: when for key, when in self.left.items() if key[0] != number}
        untouched = [number for number, past in self.histories.items() if past == [None]]
        self.next = min(untouched, default=self.rows + 1)
        assert untouched == list(range(self.next, self.rows + 1))
        self.synced = dict.fromkeys(self.histories, 0)
        self.stored = dict.fromkeys(self.histories, 0)

    def known(self, number: int, found: RowHistory | None, line: Status | None) -> Known:
        if line is not None:
            return line
        if found is None or found.request is None:
            return None if found is None else found.status
        one = request(found.request.first, found.request.last)
        one.history = self.resting.setdefault(found.request.first, one).history = found.request.history
        return found.status or opened_of(one, one.history.in_doubt)

    def compare(self, number: int, known: Known, possible: list[Known], found: RowHistory | None) -> None:
        if not isinstance(known, Opened):
            assert known in possible, (number, known, possible)
            return
        assert found is not None
        assert found.request is not None
        assert not isinstance(possible[0], Status) or len(possible) > 1, (number, possible)
        # The next attempt goes in the same request under an id of which all is known, or is in doubt.
        were = [one for one in possible if isinstance(one, Opened)]
        same = [one for one in were if known[:3] == one[:3]]
        assert same or (known.in_doubt and (found.is_lost or known[:2] in [one[:2] for one in were])), (
            number,
            known,
            possible,
        )
        # Without a sync, what was written later may be on the disk, too: then it is true.
        assert known.in_doubt or known in possible, (number, known, possible)
        history, left = found.request.history, self.left.get((number, known.version), inf)
        if known.in_doubt and history.first_left is not None:
            # Earlier than it was is safe: the endpoint is trusted to remember it for less long.
            assert self.booted + history.first_left <= left + 0.001, (number, history)


def opened_of(one: EngageRequest, in_doubt: bool) -> Opened:
    first = one.row.number
    return Opened(first, one.last or first, one.history.request_id_version, in_doubt)


def rows_of(one: EngageRequest) -> range:
    return range(one.row.number, (one.last or one.row.number) + 1)


def stretches(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Neighbours together."""
    begin = 0
    for index, number in enumerate(numbers):
        if index + 1 == len(numbers) or numbers[index + 1] > number + 1:
            yield numbers[begin], number
            begin = index + 1


class PowerCutWithBatchesOf7(PowerCut):
    """Ranges that begin and end within a snapshot's sector."""

    batch = 7
    rows = 120


class PowerCutWithBatchesOf500(PowerCut):
    """Answers that are longer than the journal's limit."""

    batch = 500
    rows = 2600


for machine, examples in ((PowerCut, 40), (PowerCutWithBatchesOf7, 25), (PowerCutWithBatchesOf500, 8)):
    machine.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=50, deadline=None, phases=(Phase.generate,)
    )
TestPowerCut = PowerCut.TestCase
TestPowerCutWithBatchesOf7 = PowerCutWithBatchesOf7.TestCase
TestPowerCutWithBatchesOf500 = PowerCutWithBatchesOf500.TestCase
