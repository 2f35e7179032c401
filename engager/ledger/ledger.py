"""The memory of every row, which no kill can take: a file, mapped, and nothing in it can tear.

    head | slots of open rows | journal of outcomes | a byte for every row …

A run has one for each of its shards; how far their outcomes have come into the files, its book knows.

A row goes UNTOUCHED → OPEN, right before the first byte of its first try leaves → settled, as soon as its
answer was judged. Each step is stored in the order in which a kill between two stores does no harm:
the slot before the row's byte, the journal before the row's byte.

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

import mmap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from engager.errors import RunDirectoryError
from engager.ledger import clock, slots
from engager.ledger.clock import on_boot_clock, this_moment
from engager.ledger.journal import Entry, Journal, Mark
from engager.ledger.lock import hold
from engager.ledger.mapped import MappedFile
from engager.ledger.redo import Block, RedoLog, store_again
from engager.ledger.slots import OpenRow, Slots
from engager.ledger.states import STATES, WORDS, State
from engager.model import Life

_MAGIC = b"engager ledger 4\n"
_PAGE: Final = 1 << 16
_SLOTS: Final = _PAGE
_JOURNAL: Final = _SLOTS + slots.SIZE

#: Rows whose bytes are mapped at once.
PART: Final = 1 << 20

_OPEN: Final = WORDS[State.OPEN]


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
            self.first, size = int(head["first"]), int(head["journal"])
            self._rows_at = _JOURNAL + size
            if self._file.size < self._rows_at:
                raise RunDirectoryError(f"{path}: it is just being made. Look again in a moment.")
            self._memory = self._file.map(0, self._rows_at)
            self._rows: list[mmap.mmap] = []
            self._boot = clock.boot_id()
            self._read_clocks()
            self._first_tries: dict[int, Life] = {}  #: rows that left after the horizon, and have no slot
            self._to_turn: list[int] = []  #: rows whose slots are newer than their bytes
            self._slots_given = self._bytes_turned = float("-inf")  #: to all that left until then
            self.slots = Slots(self._memory, _SLOTS, self._boot)
            self.journal = Journal(self._memory, _JOURNAL, size)
            self.open_rows: dict[int, Life] = {}  #: rows that an earlier process left open
            self._map_rows(self._file.size)
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

    def _map_rows(self, size: int) -> None:
        while (at := self._rows_at + len(self._rows) * PART) + PART <= size:
            self._rows.append(self._file.map(at, PART))

    def reach(self, row: int) -> None:
        """Make room up to this row. Raises RecordingError when there is no space on the disk."""
        while len(self._rows) * PART <= row - self.first:
            self._rows.append(self._file.map(self._rows_at + len(self._rows) * PART, PART))
            if len(self._rows) > 2:
                _forget(self._rows[-3])

    def states(self, first: int, count: int) -> bytes:
        """The states of so many rows, a byte each."""
        part, place = divmod(first - self.first, PART)
        if part >= len(self._rows):
            return bytes(count)
        found = self._rows[part][place : place + count]
        if len(found) < count:
            found += b"".join(rows[: count - len(found)] for rows in self._rows[part + 1 : part + 2])
        return found.translate(STATES).ljust(count, b"\0")

    def count(self) -> Counter[State]:
        """How many rows are in which state; untouched ones are not counted."""
        counts: Counter[State] = Counter()
        for rows in self._rows:
            states = rows[:].translate(STATES)
            counts.update({state: states.count(state) for state in State if state})
        return +counts

    def leaves(self, row: int, life: Life) -> None:
        """The first byte of a try of this row is about to leave."""
        if row in self.slots.rows:
            self._write_slot(row, life, True)
        elif life.attempts or life.generation or life.in_doubt:  # in another pass
            self._write_slot(row, life, True)
            self.set_state(row, State.SLOTTED)
        else:
            self._first_tries[row] = life
            place = row - self.first
            self._rows[place >> 20][place & PART - 1] = _OPEN

    def answered(self, row: int, life: Life) -> None:
        """A try came to an end that does not settle the row."""
        if row not in self._first_tries and row not in self.slots.rows:
            return
        self._write_slot(row, life, False)
        self._first_tries.pop(row, None)
        if life.generation:
            self.set_state(row, State.SLOTTED)  # without its slot, nobody must take it for a first try
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
            if self.states(row, 1)[0] == State.OPEN:
                self.set_state(row, State.SLOTTED)
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
        """The row has its outcome; False where the journal has no room for it before the next commit."""
        if not self.journal.append(entry):
            return False
        place = entry.row - self.first
        self._rows[place >> 20][place & PART - 1] = WORDS[entry.state]
        if self._first_tries.pop(entry.row, None) is None:
            self.slots.free(entry.row)
        return True

    def set_state(self, row: int, state: State) -> None:
        """Change what is known of a row."""
        place = row - self.first
        self._rows[place >> 20][place & PART - 1] = WORDS[state]

    def recover(self, mark: Mark, latest_wall: float, same_token: bool, begun: float) -> list[Entry]:
        """The entries that came after a mark; open rows are in `open_rows`.

        `begun` is when the run began, on the boot clock. A new mark is to be committed before anything else
        is settled.
        """
        if self._redo is not None:
            store_again(self._redo.blocks(), self, mark)
        entries = list(self.journal.recover(mark))
        for entry in entries:
            self.reach(entry.row)
            self.set_state(entry.row, entry.state)
        self._recover_open_rows(latest_wall, same_token, begun)
        self._synced_to = self.journal.mark
        if self._redo is not None:
            self._redo.forget()  # what it says must not come back when rows were opened for another pass
        _forget(self._memory)
        return entries

    def _recover_open_rows(self, latest_wall: float, same_token: bool, begun: float) -> None:
        now, horizon = this_moment(self._boot), begun
        for found in self.slots.recover():
            first_left = on_boot_clock(found.first_left, now, latest_wall)
            if found.row == slots.HORIZON:
                horizon = first_left
            elif self.states(found.row, 1)[0] in (State.OPEN, State.SLOTTED):
                self._take_up(found, first_left, same_token)
            else:
                self.slots.wipe(found.row)
        for row in list(self._open_without_slot()):
            self._take_up(OpenRow(row, 0, 0, now, in_flight=True, in_doubt=False), horizon, same_token)
        for _ in range(2):
            self.store()
            self.give_slots()
            self.move_horizon()

    def _open_without_slot(self) -> Iterator[int]:
        """Not those that are SLOTTED: a slot that is not there was damaged, and nobody knows what it said."""
        for part, rows in enumerate(self._rows):
            states = rows[:].translate(STATES)
            at = states.find(State.OPEN)
            while at >= 0:
                row = self.first + part * PART + at
                if row not in self.open_rows:
                    yield row
                at = states.find(State.OPEN, at + 1)

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
            self.set_state(found.row, State.SLOTTED)  # a power cut made it one of many: it is in doubt
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

    @property
    def end(self) -> int:
        """Behind the last row that there is room for."""
        return self.first + len(self._rows) * PART

    def close(self) -> None:
        """Close the file; what was stored stays."""
        self._rows.clear()
        self._file.close()
        if self._redo is not None:
            self._redo.close()


def _forget(memory: mmap.mmap) -> None:
    """Give up the memory that a mapping takes: what is stored stays with the file."""
    if hasattr(mmap, "MADV_DONTNEED"):
        memory.madvise(mmap.MADV_DONTNEED)
