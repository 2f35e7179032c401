"""The run's memory of every row, which no kill can take: one file, mapped, and nothing in it can tear.

    head | commits | slots of open rows | journal of outcomes | a byte for every row …

A row goes UNTOUCHED → OPEN, right before the first byte of its first try leaves → settled, as soon as its
answer was judged. Each step is stored in the order in which a kill between two stores does no harm:
the slot before the row's byte, the journal before the row's byte.
"""

from __future__ import annotations

import mmap
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from engager.errors import RunDirectoryError
from engager.ledger import clock, commits, slots
from engager.ledger.clock import Moment, on_boot_clock, this_moment
from engager.ledger.commits import Commits
from engager.ledger.journal import Entry, Journal, Mark
from engager.ledger.mapped import MappedFile
from engager.ledger.slots import Slots
from engager.ledger.states import STATES, WORDS, State
from engager.model import Life

_MAGIC = b"engager ledger 1\n"
_PAGE = 1 << 16
_COMMITS = _PAGE
_SLOTS = _COMMITS + commits.SIZE
_JOURNAL = _SLOTS + slots.SIZE

#: Rows whose bytes are mapped at once.
PART = 1 << 20

#: Rows whose further ids are remembered. One beyond that cannot be tried again under its id.
MAX_GENERATIONS = 2000

_OPEN = WORDS[State.OPEN]


def journal_size(max_row_bytes: int) -> int:
    """Bytes for the journal of an input whose rows are at most so long."""
    return -(-((1 << 20) + 4 * max_row_bytes) // _PAGE) * _PAGE


class Ledger:
    """An open ledger. Made new where there is none."""

    def __init__(self, path: Path, new_journal: int = 0, writable: bool = True, synced: bool = False) -> None:
        self._file = MappedFile(path, writable)
        self._synced = synced
        try:
            size = new_journal if new_journal else self._journal_of_head(path)
            if not writable and self._file.size < _JOURNAL + size:
                raise RunDirectoryError(f"{path}: it is just being made. Look again in a moment.")
            self._rows_at = _JOURNAL + size
            self._memory = self._file.map(0, self._rows_at)
            if new_journal:
                head = _MAGIC + orjson.dumps({"journal": size}) + b"\n"
                self._memory[: len(head)] = head
            self._rows: list[mmap.mmap] = []
            self._boot = clock.boot_id()
            self.commits = Commits(self._memory, _COMMITS)
            self.slots = Slots(self._memory, _SLOTS)
            self.journal = Journal(self._memory, _JOURNAL, size)
            self.open_rows: dict[int, Life] = {}  #: rows that an earlier process left open
            self.passes = 0  #: how often failed rows were opened again
            self.generations: dict[int, int] = {}  #: of rows in doubt, unless 0
            self.known_by = (
                ""  #: a digest of the token: the endpoint knows a Request-ID only together with it
            )
            self._map_rows(self._file.size)
        except BaseException:
            self._file.close()
            raise

    def _journal_of_head(self, path: Path) -> int:
        head = self._file.map(0, _PAGE)[:_PAGE] if self._file.size >= _PAGE else b""
        if not head.startswith(_MAGIC):
            raise RunDirectoryError(f"{path}: it is no ledger of this version. Name a new run with --out.")
        return int(orjson.loads(head[len(_MAGIC) : head.index(b"\n", len(_MAGIC))])["journal"])

    def _map_rows(self, size: int) -> None:
        while (at := self._rows_at + len(self._rows) * PART) + PART <= size:
            self._rows.append(self._file.map(at, PART))

    def reach(self, row: int) -> None:
        """Make room up to this row. Raises RecordingError when there is no space on the disk."""
        while len(self._rows) * PART <= row:
            self._rows.append(self._file.map(self._rows_at + len(self._rows) * PART, PART))

    def states(self, first: int, count: int) -> bytes:
        """The states of so many rows, a byte each."""
        part, place = divmod(first, PART)
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
        self._write_slot(row, life, True)
        self._rows[row >> 20][row & PART - 1] = _OPEN

    def answered(self, row: int, life: Life) -> None:
        """A try came to an end that does not settle the row."""
        if row in self.slots:
            self._write_slot(row, life, False)

    def _write_slot(self, row: int, life: Life, in_flight: bool) -> None:
        first_left = clock.seconds() if life.first_left is None else life.first_left
        wall = time.time() - (clock.seconds() - first_left)
        self.slots.write(row, life, Moment(wall, first_left, self._boot), in_flight)

    def settle(self, entry: Entry) -> None:
        """The row has its outcome. Raises JournalFullError."""
        self.journal.append(entry)
        self._rows[entry.row >> 20][entry.row & PART - 1] = WORDS[entry.state]
        self.slots.free(entry.row)

    def note_generation(self, row: int, generation: int) -> None:
        """Remember under which id a row is in doubt, should another pass be asked for; such rows are few."""
        if len(self.generations) < MAX_GENERATIONS:
            self.generations[row] = generation

    def set_state(self, row: int, state: State) -> None:
        """Change what is known of a row whose outcome is not to stand."""
        self._rows[row >> 20][row & PART - 1] = WORDS[state]

    def commit(self, facts: dict[str, Any], mark: Mark) -> None:
        """Say how far the files have come: all entries before the mark are in them. Raises OSError."""
        passes = {"passes": self.passes, "generations": list(self.generations.items())}
        known = {"known_by": self.known_by, "journal": [mark.number, mark.at], "wall": time.time()}
        self.commits.write({**facts, **passes, **known})
        if self._synced:
            self._file.sync()  # the room is used again only when nothing on the disk needs it
        self.journal.release(mark)

    def recover(self) -> tuple[dict[str, Any], list[Entry]]:
        """What was last committed, and the entries that came after it; open rows are in `open_rows`.

        Raises RunDirectoryError when nothing was ever committed.
        """
        facts = self.commits.read()
        if facts is None:
            raise RunDirectoryError(f"{self._file.path}: the ledger is damaged. Name a new run with --out.")
        self.passes, self.generations = facts["passes"], dict(facts["generations"])
        entries = list(self.journal.recover(Mark(*facts["journal"])))
        for entry in entries:
            self.reach(entry.row)
            self._rows[entry.row >> 20][entry.row & PART - 1] = WORDS[entry.state]
        self._recover_open_rows(facts["wall"])
        if facts["known_by"] != self.known_by:
            self._forget_open_rows()
        return facts, entries

    def _recover_open_rows(self, latest_wall: float) -> None:
        now = this_moment(self._boot)
        for found in self.slots.recover():
            if self.states(found.row, 1)[0] != State.OPEN:
                self.slots.free(found.row)
                continue
            life = Life(
                found.attempts + found.in_flight,
                found.generation,
                on_boot_clock(found.first_left, now, latest_wall),
                found.in_doubt or found.in_flight,
            )
            if not life.in_doubt and life.first_left == float("-inf"):
                life.renew()
            self.open_rows[found.row] = life

    def _forget_open_rows(self) -> None:
        """No open row can be repeated under its id any more; a kill does not make it forgotten again."""
        for row, life in self.open_rows.items():
            if life.in_doubt:
                life.first_left = float("-inf")
                self.slots.write(row, life, Moment(0, 0, 0), in_flight=False)

    def life_of(self, row: int, state: State) -> Life:
        """What is known of a row that is due though it was taken up before."""
        if state is State.AGAIN:
            return Life(generation=self.passes << 16)
        if state is State.AGAIN_IN_DOUBT:
            return Life(0, self.generations.get(row, 0), clock.seconds(), in_doubt=True, asked_for=True)
        # A slot that was lost: a try may have been taken, and nobody knows when.
        return self.open_rows.pop(row, None) or Life(1, 0, float("-inf"), True)

    def sync(self) -> None:
        """Bring it to the disk. Raises OSError."""
        self._file.sync()

    @property
    def vanished(self) -> bool:
        """Whether its file was removed."""
        return self._file.vanished

    def close(self) -> None:
        """Close the file; what was stored stays."""
        self._rows.clear()
        self._file.close()
