"""A byte for every row: a word of `states`, in a file that grows as the input is read."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from typing import Final

from engager.ledger.mapped import MappedFile, forget
from engager.ledger.states import STATES, WORDS, State

#: Rows whose bytes are mapped at once.
PART: Final = 1 << 20


class RowStates:
    """The bytes of the rows from `first` on, in a part of the ledger: its last one."""

    def __init__(self, file: MappedFile, offset: int, first: int) -> None:
        self.first = first
        self._file, self._offset = file, offset
        self._parts: list[mmap.mmap] = []
        while (at := offset + len(self._parts) * PART) + PART <= file.size:
            self._parts.append(file.map(at, PART))

    @property
    def end(self) -> int:
        """Behind the last row that there is room for."""
        return self.first + len(self._parts) * PART

    def reach(self, row: int) -> None:
        """Make room up to this row. Raises RecordingError when there is no space on the disk."""
        while self.end <= row:
            self._parts.append(self._file.map(self._offset + len(self._parts) * PART, PART))
            if len(self._parts) > 2:
                forget(self._parts[-3])

    def read(self, first: int, count: int) -> bytes:
        """The states of so many rows, a byte each."""
        part, place = divmod(first - self.first, PART)
        if part >= len(self._parts):
            return bytes(count)
        found = self._parts[part][place : place + count]
        if len(found) < count:
            found += b"".join(rows[: count - len(found)] for rows in self._parts[part + 1 : part + 2])
        return found.translate(STATES).ljust(count, b"\0")

    def of(self, row: int) -> State:
        """The state of one row."""
        return State(self.read(row, 1)[0])

    def count(self) -> Counter[State]:
        """How many rows are in which state; untouched ones are not counted."""
        counts: Counter[State] = Counter()
        for rows in self._parts:
            states = rows[:].translate(STATES)
            counts.update({state: states.count(state) for state in State if state})
        return +counts

    def all_open(self) -> Iterator[int]:
        """The rows that are OPEN, as they are found."""
        for part, rows in enumerate(self._parts):
            states = rows[:].translate(STATES)
            at = states.find(State.OPEN)
            while at >= 0:
                yield self.first + part * PART + at
                at = states.find(State.OPEN, at + 1)

    def store(self, row: int, state: State) -> None:
        """Say that a row is in this state."""
        place = row - self.first
        self._parts[place // PART][place % PART] = WORDS[state]

    def store_all(self, rows: list[int], state: State) -> None:
        """Say that some rows are; those that follow one another cost least."""
        first, count = rows[0], len(rows)
        place = first - self.first
        begin = place % PART
        if begin + count <= PART and rows == list(range(first, first + count)):
            self._parts[place // PART][begin : begin + count] = WORDS[state : state + 1] * count
        else:
            for row in rows:
                self.store(row, state)

    def close(self) -> None:
        """Let go of the memory; what was stored stays."""
        self._parts.clear()
