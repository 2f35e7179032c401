"""After a power cut the state is that of a completed sync; after a kill it is that of the last write.

The disk is a model: after a cut, each sector of a file is as of its last sync or as of now. Everything else
is real. Requests carry one row or several.
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
from tests.store.stored import make_store, outcome, request, row

SECTOR = 512
START = 1_000_000.0
CHOICE = st.integers(0, 7)


class Open(NamedTuple):
    """The open request that carries a row."""

    first: int
    last: int
    version: int
    in_doubt: bool


Known = None | Status | Open


class Disk:
    """Records the content of each file at its last sync."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.stored: dict[Path, bytes] = {}
        self.syncs = 0
        self.may_end, self.is_off = Event(), False
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
        if path.is_file() and not self.is_off:
            self.stored[path] = path.read_bytes()
            self.syncs += 1

    def cut(self, path: Path, draw: random.Random) -> None:
        """Replace a file by a state that a power cut may leave."""
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
    """Requests are sent and settled; at times the power fails, or the process is killed."""

    batch = 1  #: rows of a request
    rows = 60

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.loop = pytest.MonkeyPatch(), asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.wall, self.booted, self.boot = START, START - 50, 7
        self.patch.setattr(clock, "seconds", lambda: self.wall - self.booted)
        self.patch.setattr(clock, "boot_id", lambda: self.boot)
        self.patch.setattr(time, "time", lambda: self.wall)
        self.patch.setattr(journal, "LIMIT", 1500)
        self.disk = Disk(self.patch)
        self.histories: dict[int, list[Known]] = {number: [None] for number in range(1, self.rows + 1)}
        self.synced = dict.fromkeys(self.histories, 0)  #: the last synced state of each row
        self.stored = dict.fromkeys(self.histories, 0)  #: the last written state of each row
        self.left: dict[tuple[int, int], float] = {}  #: when the first attempt of a row left under a version
        self.in_flight: dict[int, EngageRequest] = {}
        self.due: dict[int, EngageRequest] = {}
        self.admitted: list[EngageRequest] = []
        self.sync_under_way: tuple[Awaitable[None], dict[int, int], list[EngageRequest]] | None = None
        self.next = 1

    def await_(self, call: Callable[[], object]) -> object:
        async def inside() -> object:
            result = call()
            return await result if asyncio.iscoroutine(result) else result

        return self.loop.run_until_complete(inside())

    @initialize()
    def begin(self) -> None:
        self.open()

    def open(self) -> None:
        self.disk.is_off = False
        self.store = make_store(self.folder, synced=True)
        self.await_(lambda: self.store.start(1))
        self.await_(self.store.flush)

    def teardown(self) -> None:
        try:
            self.cut_the_power(self.next)
            self.close()
        finally:
            self.patch.undo()
            self.loop.close()
            shutil.rmtree(self.folder)

    def close(self) -> None:
        """End the process without another write."""

        def refuse(descriptor: int, data: bytes, at: int) -> int:
            raise OSError(5, "the process is gone")

        self.disk.is_off, self.sync_under_way = True, None
        self.disk.may_end.set()
        with pytest.MonkeyPatch.context() as patch, suppress(RecordingError):
            patch.setattr(os, "pwrite", refuse)
            self.store.close()

    def note(self, one: EngageRequest, known: Known) -> None:
        for number in rows_of(one):
            if not isinstance(self.histories[number][-1], Status):
                self.histories[number].append(known)

    def last_states(self) -> dict[int, int]:
        return {number: len(history) - 1 for number, history in self.histories.items()}

    @rule(requests=st.integers(1, 4), later=st.sampled_from((0.0, 0.1, 7.0)))
    def admit_new_rows(self, requests: int, later: float) -> None:
        self.wall += later
        for _ in range(requests):
            if self.next <= self.rows:
                last = min(self.next + self.batch - 1, self.rows)
                self.admit(request(self.next, last))
                self.next = last + 1

    @rule(choice=CHOICE)
    @precondition(lambda self: self.due)
    def admit_a_retry(self, choice: int) -> None:
        number = sorted(self.due)[choice % len(self.due)]
        self.admit(self.due.pop(number))

    def admit(self, one: EngageRequest) -> None:
        one.history = one.history.departed(clock.seconds())
        self.admitted.append(one)

    def take_in_flight(self, choice: int) -> EngageRequest:
        one = self.in_flight.pop(sorted(self.in_flight)[choice % len(self.in_flight)])
        one.history = one.history.ended()
        return one

    @rule(choice=CHOICE, doubt=st.booleans(), renew=st.booleans())
    @precondition(lambda self: self.in_flight)
    def fail(self, choice: int, doubt: bool, renew: bool) -> None:
        one = self.take_in_flight(choice)
        one.history = one.history._replace(in_doubt=one.history.in_doubt or doubt)
        if renew:
            one.history = one.history.renewed()
        self.await_(lambda: self.store.after((), (one,)))
        self.make_due(one)

    def make_due(self, one: EngageRequest) -> None:
        self.due[one.row.number] = one
        self.note(one, opened_of(one, one.history.in_doubt))

    @rule(choice=CHOICE, seed=st.integers(0, 1 << 32), share=st.sampled_from((1.0, 1.0, 0.7)))
    @precondition(lambda self: self.in_flight)
    def settle(self, choice: int, seed: int, share: float) -> None:
        """Settle rows of a request; the others become due, neighbours in one request."""
        one, draw = self.take_in_flight(choice), random.Random(seed)
        due = [number for number in self.open_rows(one) if self.batch > 1 and draw.random() > share]
        statuses = {
            number: draw.choice((*Status, Status.ENGAGED, Status.ENGAGED))
            for number in self.open_rows(one)
            if number not in due
        }
        again = [request(first, last) for first, last in consecutive(due)]
        for each in again:
            each.history = AttemptHistory(one.history.attempts, one.history.request_id_version + 1)
        outcomes = [outcome(number, status) for number, status in statuses.items()]
        self.await_(lambda: self.store.after(outcomes, again))
        for number, status in statuses.items():
            self.histories[number].append(status)
        for each in again:
            self.make_due(each)

    def open_rows(self, one: EngageRequest) -> list[int]:
        return [number for number in rows_of(one) if not isinstance(self.histories[number][-1], Status)]

    @rule()
    @precondition(lambda self: self.sync_under_way is None)
    def begin_sync(self) -> None:
        admitted = [*self.admitted]
        for one in admitted:
            self.note(one, opened_of(one, True))
            for number in rows_of(one):
                self.left.setdefault((number, one.history.request_id_version), self.wall)
        self.disk.may_end.clear()
        synced = self.await_(lambda: self.store.before_send(self.admitted))
        assert isinstance(synced, Awaitable)
        assert not self.admitted
        self.stored = self.last_states()
        self.sync_under_way = synced, self.last_states(), admitted

    @rule()
    @precondition(lambda self: self.sync_under_way is not None)
    def end_sync(self) -> None:
        assert self.sync_under_way is not None
        synced, self.synced, admitted = self.sync_under_way
        self.disk.may_end.set()
        self.loop.run_until_complete(synced)
        self.sync_under_way = None
        self.in_flight |= {one.row.number: one for one in admitted}

    @rule()
    def append_to_files(self) -> None:
        self.await_(self.store.flush)
        self.stored = self.last_states()

    @rule()
    def refresh(self) -> None:
        """Begin the journal anew if it has grown."""
        syncs = self.disk.syncs
        self.await_(self.store.refresh)
        if self.disk.syncs > syncs:
            self.stored = self.synced = self.last_states()

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
        """Compare the state that is read with the states that are possible, and continue from there."""
        for each in (self.in_flight, self.due, self.admitted):
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
        one.history = self.due.setdefault(found.request.first, one).history = found.request.history
        return found.status or opened_of(one, one.history.in_doubt)

    def compare(self, number: int, known: Known, possible: list[Known], found: RowHistory | None) -> None:
        if not isinstance(known, Open):
            assert known in possible, (number, known, possible)
            return
        assert found is not None
        assert found.request is not None
        assert not isinstance(possible[0], Status) or len(possible) > 1, (number, possible)
        # The next attempt has the same request and an id whose history is known, or the row is in doubt.
        were = [one for one in possible if isinstance(one, Open)]
        same = [one for one in were if known[:3] == one[:3]]
        assert same or (known.in_doubt and (found.is_lost or known[:2] in [one[:2] for one in were])), (
            number,
            known,
            possible,
        )
        # Later writes may be on the disk without a sync: then they are true.
        assert known.in_doubt or known in possible, (number, known, possible)
        history, left = found.request.history, self.left.get((number, known.version), inf)
        if known.in_doubt and history.first_left is not None:
            # An earlier moment is safe: the id is trusted for a shorter time.
            assert self.booted + history.first_left <= left + 0.001, (number, history)


def opened_of(one: EngageRequest, in_doubt: bool) -> Open:
    first = one.row.number
    return Open(first, one.last or first, one.history.request_id_version, in_doubt)


def rows_of(one: EngageRequest) -> range:
    return range(one.row.number, (one.last or one.row.number) + 1)


def consecutive(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of each series of consecutive numbers."""
    begin = 0
    for index, number in enumerate(numbers):
        if index + 1 == len(numbers) or numbers[index + 1] > number + 1:
            yield numbers[begin], number
            begin = index + 1


class PowerCutWithBatchesOf7(PowerCut):
    """Requests that begin and end within a sector of a snapshot."""

    batch = 7
    rows = 120


class PowerCutWithBatchesOf500(PowerCut):
    """Responses that settle more than the limit of the journal."""

    batch = 500
    rows = 2600


for machine, examples in ((PowerCut, 40), (PowerCutWithBatchesOf7, 25), (PowerCutWithBatchesOf500, 8)):
    machine.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=50, deadline=None, phases=(Phase.generate,)
    )
TestPowerCut = PowerCut.TestCase
TestPowerCutWithBatchesOf7 = PowerCutWithBatchesOf7.TestCase
TestPowerCutWithBatchesOf500 = PowerCutWithBatchesOf500.TestCase
