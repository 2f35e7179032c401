"""The memory of every row, which no kill can take: a file, mapped, and nothing in it can tear.

    head | slots of open rows | journal of outcomes | a byte for every row …

A run has one for each of its shards; how far their outcomes have come into the files, its book knows.

A row goes UNTOUCHED → OPEN, right before the first byte of its first try leaves → settled, as soon as its
answer was judged. Each step is stored in the order in which a kill between two stores does no harm:
the slot before the row's byte, the journal before the row's byte. Steps that come in a burst are stored
together, right before the requests among them leave: outcomes first, so that never more rows are open than
are under way.

Most rows are settled by their first try and within a moment, and to write a slot for each would cost more
than all the rest. So a row that leaves for the first time is marked by its byte alone. Twice a second those
that are still under way get their slots, then their bytes turn from OPEN to SLOTTED, and then the horizon
moves up: whatever is OPEN left after it. Where a power cut must be outlived, a sync stands between each of
these steps and the next.

A kill takes nothing of what was stored, a power cut whatever was not synced. A sync is a block in the redo
log: which rows are in their first try, and what was stored in slots and journal since the block before. It
does not say which rows are settled, or have a slot: their records and slots do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson

from engager.errors import RunDirectoryError
from engager.ledger import slots
from engager.ledger.journal import Entry, Journal, Mark
from engager.ledger.mapped import MappedFile, forget
from engager.ledger.redo import Block, RedoLog, store_again
from engager.ledger.row_states import RowStates
from engager.ledger.slots import OpenRow, Slots
from engager.ledger.states import State
from engager.model import Life
from engager.store import clock
from engager.store.clock import on_boot_clock, this_moment
from engager.store.lock import hold

_MAGIC = b"engager ledger 5\n"
_PAGE: Final = 1 << 16
_SLOTS: Final = _PAGE
_JOURNAL: Final = _SLOTS + slots.SIZE

#: Outcomes that are stored together, at most, and how long the line of each may be.
_BURST: Final = 64
_SHORT: Final = 1024

# To ask an enumeration for a member takes a call, and this one is asked for with every row.
_ENGAGED: Final = State.ENGAGED


class Ledger:
    """An open ledger of the rows from `first` on."""

    def __init__(self, path: Path, writable: bool = True, synced: bool = False) -> None:
        """`synced`: `sync` is going to be called. Raises RunDirectoryError or RecordingError."""
        if not path.exists():
            raise RunDirectoryError(
                f"{path}: the ledger is gone, and with it the memory of what was sent. Name a new run with "
                "--out, with an input that does not hold the rows of the results."
            )
        self._file = MappedFile(path, writable)
        try:
            if writable:
                hold(self._file.descriptor, path)
            head = self._read_head(path)
            size = int(head["journal"])
            if self._file.size < _JOURNAL + size:
                raise RunDirectoryError(f"{path}: it is just being made. Look again in a moment.")
            self._memory = self._file.map(0, _JOURNAL + size)
            self._boot = clock.boot_id()
            self._read_clocks()
            self._engaged: list[Entry] = []  #: outcomes of first tries that are not stored yet
            self._leaving: dict[int, Life] = {}  #: first tries that are about to leave, and not stored yet
            self._first_tries: dict[int, Life] = {}  #: rows that left after the horizon, and have no slot
            self._to_turn: list[int] = []  #: rows whose slots are newer than their bytes
            self._slots_given = self._bytes_turned = float("-inf")  #: to all that left until then
            self.slots = Slots(self._memory, _SLOTS, self._boot)
            self.journal = Journal(self._memory, _JOURNAL, size)
            self.rows = RowStates(self._file, _JOURNAL + size, int(head["first"]))
            self.open_rows: dict[int, Life] = {}  #: rows that an earlier process left open
            redo = Path(f"{path}.redo")
            self._redo = RedoLog(redo) if writable and (synced or redo.exists()) else None
            self._synced_to = self.journal.mark
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def make(cls, path: Path, first: int, max_row_bytes: int) -> None:
        """Make a new one. Raises RecordingError when there is no space."""
        size = -(-((1 << 20) + 4 * max_row_bytes) // _PAGE) * _PAGE
        file = MappedFile(path)
        try:
            head = _MAGIC + orjson.dumps({"journal": size, "first": first}) + b"\n"
            file.map(0, _JOURNAL + size)[: len(head)] = head
            file.sync()
        finally:
            file.close()

    def _read_head(self, path: Path) -> Any:
        head = self._file.map(0, _PAGE)[:_PAGE] if self._file.size >= _PAGE else b""
        if not head.startswith(_MAGIC):
            raise RunDirectoryError(
                f"{path}: it is no ledger of this version. Go on with the version that began the run: "
                "a new run would send to everybody in its input."
            )
        return orjson.loads(head[len(_MAGIC) : head.index(b"\n", len(_MAGIC))])

    def leaves(self, row: int, life: Life) -> None:
        """A try of this row is about to leave: not before `keep` was called."""
        slotted = self.slots.rows
        if life.attempts or life.generation or life.in_doubt or (slotted and row in slotted):
            self.keep()
            is_new = row not in slotted  # in another pass
            self._write_slot(row, life, True)
            if is_new:
                self.rows.store(row, State.SLOTTED)
        else:
            self._leaving[row] = life

    def keep(self) -> None:
        """Store what was said since the last call: when this returns, no kill can take it."""
        if self._engaged:
            # In a burst, most have rows that follow one another, and their outcomes came in any order.
            rows = sorted([entry.row for entry in self._engaged])
            stored = self.journal.append_engaged([entry.result for entry in self._engaged])
            assert stored, "there was room when they came"  # noqa: S101 - `settle` has seen to it
            self._engaged.clear()
            self.rows.store_all(rows, _ENGAGED)
        if self._leaving:
            self.rows.store_all([*self._leaving], State.OPEN)
            self._first_tries.update(self._leaving)
            self._leaving.clear()

    def answered(self, row: int, life: Life) -> None:
        """A try came to an end that does not settle the row."""
        self.keep()
        if row not in self._first_tries and row not in self.slots.rows:
            return
        self._write_slot(row, life, False)
        self._first_tries.pop(row, None)
        if life.generation:
            self.rows.store(row, State.SLOTTED)  # without its slot, nobody must take it for a first try
        else:
            self._to_turn.append(row)

    def give_slots(self) -> None:
        """Give all rows that are under way a slot each: now and then, and a call of `move_horizon` follows.

        Where a power cut must be outlived, a sync stands between the two.
        """
        self._read_clocks()
        self._slots_given = clock.seconds()
        for row, life in self._first_tries.items():
            self._write_slot(row, life, True)
        self._to_turn.extend(self._first_tries)
        self._first_tries.clear()

    def move_horizon(self) -> None:
        """Let the bytes say who has a slot. Who is OPEN left after those whose bytes said so last time."""
        horizon, self._bytes_turned = self._bytes_turned, self._slots_given
        for row in self._to_turn:
            if self.rows.of(row) is State.OPEN:
                self.rows.store(row, State.SLOTTED)
        self._to_turn.clear()
        if horizon > float("-inf"):
            self.slots.write(slots.HORIZON, Life(), horizon, horizon + self._wall_ahead, in_flight=False)

    def _write_slot(self, row: int, life: Life, in_flight: bool) -> None:
        first_left = clock.seconds() if life.first_left is None else life.first_left
        self.slots.write(row, life, first_left, first_left + self._wall_ahead, in_flight)

    def _read_clocks(self) -> None:
        """How far the wall clock is ahead of the boot clock: asked now and then, not for every row."""
        self._wall_ahead = time.time() - clock.seconds()

    def settle(self, entry: Entry) -> bool:
        """The row has its outcome; False where the journal has no room for it before the next commit.

        It is stored when `keep` is called, at the latest.
        """
        life, result = self._first_tries.pop(entry.row, None), entry.result
        is_plain = life is not None and entry.state is _ENGAGED and 0 < len(result) <= _SHORT
        if is_plain and (self._engaged or self.journal.has_room(_BURST * _SHORT)):
            self._engaged.append(entry)
            if len(self._engaged) == _BURST:
                self.keep()
            return True
        return self._settle_alone(entry, life)

    def _settle_alone(self, entry: Entry, life: Life | None) -> bool:
        self.keep()
        if not self.journal.append(entry):
            if life is not None:
                self._first_tries[entry.row] = life
            return False
        self.rows.store(entry.row, entry.state)
        if life is None:
            self._first_tries.pop(entry.row, None)
            self.slots.free(entry.row)
        return True

    def recover(self, mark: Mark, latest_wall: float, same_token: bool, begun: float) -> list[Entry]:
        """The entries that came after a mark; open rows are in `open_rows`.

        `begun` is when the run began, on the boot clock. A new mark is to be committed before anything else
        is settled.
        """
        if self._redo is not None:
            store_again(self._redo.blocks(), self, mark)
        entries = list(self.journal.recover(mark))
        for entry in entries:
            self.rows.reach(entry.row)
            self.rows.store(entry.row, entry.state)
        self._recover_open_rows(latest_wall, same_token, begun)
        self._synced_to = self.journal.mark
        if self._redo is not None:
            self._redo.forget()  # what it says must not come back when rows were opened for another pass
        forget(self._memory)
        return entries

    def _recover_open_rows(self, latest_wall: float, same_token: bool, begun: float) -> None:
        now, horizon = this_moment(self._boot), begun
        for found in self.slots.recover():
            first_left = on_boot_clock(found.first_left, now, latest_wall)
            if found.row == slots.HORIZON:
                horizon = first_left
            elif self.rows.of(found.row) in (State.OPEN, State.SLOTTED):
                self._take_up(found, first_left, same_token)
            else:
                self.slots.wipe(found.row)
        # Not those that are SLOTTED: a slot that is not there was damaged, and nobody knows what it said.
        for row in [row for row in self.rows.all_open() if row not in self.open_rows]:
            self._take_up(OpenRow(row, 0, 0, now, in_flight=True, in_doubt=False), horizon, same_token)
        for _ in range(2):
            self.store()
            self.give_slots()
            self.move_horizon()

    def _take_up(self, found: OpenRow, first_left: float, same_token: bool) -> None:
        """Remember a row that an earlier process left open."""
        life = Life(
            found.attempts + found.in_flight,
            found.generation,
            first_left,
            found.in_doubt or found.in_flight,
            found.asked_for,
        )
        if not same_token:
            # The endpoint knows an id together with its token only; a kill must not undo that.
            life.first_left = float("-inf")
        if found.row not in self.slots.rows and self.slots.are_scarce:
            self.rows.store(found.row, State.SLOTTED)  # a power cut made it one of many: it is in doubt
            return
        if not same_token or found.row not in self.slots.rows:
            self._write_slot(found.row, life, False)
        self._to_turn.append(found.row)
        if not life.in_doubt and life.first_left == float("-inf"):
            life.renew()
        self.open_rows[found.row] = life

    def store(self) -> None:
        """Bring all of it to the disk. Raises RecordingError."""
        self._file.refuse_vanished()
        self._file.sync()

    def sync(self) -> Callable[[], None]:
        """Begin to bring to the disk what was stored by now, and go on with what this returns: in a thread.

        One at a time. Raises RecordingError, then and ever after.
        """
        assert self._redo is not None  # noqa: S101 - who syncs has said so at the beginning
        self.keep()
        since, self._synced_to = self._synced_to, self.journal.mark
        block = Block([*self._first_tries], self.slots.written(), self.journal.since(since))
        if (bring := self._redo.add(block)) is not None:
            return bring
        self._redo.begin_anew()
        return self._file.sync

    def check(self) -> None:
        """Raises RecordingError when a file was taken away: what is stored from now on would be lost."""
        self._file.refuse_vanished()
        if self._redo is not None:
            self._redo.refuse_vanished()

    def close(self) -> None:
        """Close the file: the outcomes stay; who was about to leave has not left."""
        self._leaving.clear()
        try:
            self.keep()
        finally:
            self.rows.close()
            self._file.close()
            if self._redo is not None:
                self._redo.close()
