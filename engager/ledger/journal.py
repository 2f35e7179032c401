"""Outcomes that are known and not yet in their files: a ring of records in mapped memory.

A record holds the very lines that will be appended, so that nothing has to be thought up again after a
kill. Records are numbered and carry a checksum: the first that does not fit ends what is read back. Rows that
were engaged come in bursts, and a burst takes one record: each of its lines says itself which row it is of.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

import orjson

from engager.ledger.states import State
from engager.store.formats import RejectFile as Mend

_HEAD: Final = Struct(
    "<QQIIBBI"
)  # number, row, lengths of the result and of the row to mend, state, kind, generation
_CHECK: Final = Struct("<I")
_PREFIX: Final = _HEAD.size + _CHECK.size


#: Bytes of the ring that are used as long as they suffice: they stay in the processor's cache.
_HOT: Final = 1 << 19

#: Instead of a row, those of an input being counted from 1: the record is of as many as it has lines.
_MANY: Final = 0

#: More records than are ever written between two starts.
_FAR: Final = 1 << 32


@dataclass(slots=True, init=False)
class Entry:
    """One settled row."""

    row: int
    state: State
    result: bytes  #: the fields of its line of results, as a line of JSON
    mend: Mend
    to_mend: bytes  #: its line in the file that `mend` names
    generation: int  #: how often its Request-ID had been renewed

    def __init__(
        self,
        row: int,
        state: State,
        result: bytes,
        mend: Mend,
        to_mend: bytes,
        generation: int = 0,
    ) -> None:
        self.row = row
        self.state = state
        self.result = result
        self.mend = mend
        self.to_mend = to_mend
        self.generation = generation


class Mark(NamedTuple):
    """A place in the ring: everything before it is in its files."""

    number: int = 1  #: of the next record
    at: int = 0  #: where it begins


class Journal:
    """The ring in a part of the ledger."""

    def __init__(self, memory: mmap.mmap, offset: int, size: int) -> None:
        self._memory, self._offset, self._size = memory, offset, size
        self._hot = min(_HOT, size)
        self._number, self._at = Mark()
        self._went_round = 0  #: behind the record that was the last one before the ring's beginning
        self._has_room_to(size)

    def _has_room_to(self, end: int) -> None:
        """What may be written over ends here; counted on behind the ring's end, where it goes round."""
        self._room_to = end
        self._until = min(end, self._hot)  #: up to here a record follows the last one, no question asked

    @property
    def mark(self) -> Mark:
        """The place behind the last record."""
        return Mark(self._number, self._at)

    @property
    def largest(self) -> int:
        """The most bytes that the lines of one record may have."""
        return self._size // 2 - _PREFIX

    def append_engaged(self, results: Sequence[bytes]) -> bool:
        """Keep entries of engaged rows, by their lines alone; False where there is no room for all."""
        return self.append(Entry(_MANY, State.ENGAGED, b"".join(results), Mend.NONE, b""))

    def has_room(self, size: int) -> bool:
        """Whether a record whose lines have so many bytes can be kept."""
        return self._place_for(_PREFIX + size)[0] >= 0

    def append(self, entry: Entry) -> bool:
        """Keep an entry; False where there is no room until what is pending was written to its files."""
        result, to_mend, at = entry.result, entry.to_mend, self._at
        head = _HEAD.pack(
            self._number, entry.row, len(result), len(to_mend), entry.state, entry.mend, entry.generation
        )
        lines = result + to_mend if to_mend else result
        length = _PREFIX + len(lines)
        if at + length > self._until:
            at, room_to = self._place_for(length)
            if at < 0:
                return False
            if at < self._at:
                self._went_round = self._at
            self._has_room_to(room_to)
        begin, self._at = self._offset + at, at + length
        # The checksum stands in front of what it checks, and is as good as the whole of it.
        self._memory[begin : begin + _PREFIX] = _CHECK.pack(crc32(lines, crc32(head))) + head
        self._memory[begin + _PREFIX : begin + length] = lines
        self._number += 1
        return True

    def _place_for(self, length: int) -> tuple[int, int]:
        """Where a record of so many bytes begins, and where the room ends then; -1 where there is none."""
        at, room_to = self._at, self._room_to
        fits_in_front = length <= room_to - self._size
        if at + length > self._hot and (at + length > self._size or fits_in_front):
            at, room_to = 0, room_to - self._size
        return (at if at + length <= room_to else -1), room_to

    def since(self, mark: Mark) -> list[tuple[int, memoryview]]:
        """The records behind a mark, and where they stand; nothing may have been released behind it."""
        if mark.number == self._number:
            return []
        if mark.at < self._at:
            return [(mark.at, self._stretch(mark.at, self._at))]
        behind = [(0, self._stretch(0, self._at))]
        if mark.at < self._went_round:
            return [(mark.at, self._stretch(mark.at, self._went_round)), *behind]
        return behind

    def _stretch(self, begin: int, end: int) -> memoryview:
        return memoryview(self._memory)[self._offset + begin : self._offset + end]

    def redo(self, at: int, stretch: bytes | memoryview, mark: Mark) -> Iterator[tuple[int, State]]:
        """Store records again; those before a mark are in their files. Yields the rows that they settled."""
        begin = 0
        while found := _record(stretch, begin):
            number, entry, end = found
            if number >= mark.number:
                self._memory[self._offset + at + begin : self._offset + at + end] = stretch[begin:end]
            for each in _each(entry):
                yield each.row, each.state
            begin = end

    def release(self, mark: Mark) -> None:
        """What is before this mark is in its files: its room may be used again."""
        distance = (self._at - mark.at) % self._size
        used = 0 if mark.number == self._number else distance or self._size
        self._has_room_to(self._at + self._size - used)

    def recover(self, mark: Mark) -> Iterator[Entry]:
        """Read back what stands behind a mark, and go on behind it: the new mark is to be committed first."""
        self._number, self._at = mark
        while (found := self._read(self._at)) or (found := self._read(0)):
            entry, (self._number, self._at) = found
            yield from _each(entry)
        self.release(mark)
        # After a power cut, what stood behind may come back: its numbers are not used again.
        self._number += _FAR

    def _read(self, at: int) -> tuple[Entry, Mark] | None:
        found = _record(self._memory, self._offset + at, self._offset + self._size)
        if found is None or found[0] != self._number:
            return None
        number, entry, end = found
        return entry, Mark(number + 1, end - self._offset)


def _each(entry: Entry) -> Iterator[Entry]:
    """The entries that a record is of."""
    if entry.row != _MANY:
        yield entry
        return
    for line in entry.result.splitlines(keepends=True):
        yield Entry(orjson.loads(line)["row"], entry.state, line, entry.mend, b"")


def _record(
    data: mmap.mmap | bytes | memoryview, at: int, until: int | None = None
) -> tuple[int, Entry, int] | None:
    """The record that begins there, if it is whole: its number, what it says, and where it ends."""
    until = len(data) if until is None else until
    if at + _PREFIX > until:
        return None
    (check,) = _CHECK.unpack_from(data, at)
    number, row, result, to_mend, state, mend, generation = _HEAD.unpack_from(data, at + _CHECK.size)
    end = at + _PREFIX + result + to_mend
    if end > until:
        return None
    record = bytes(data[at + _CHECK.size : end])
    if crc32(record) != check:
        return None
    lines = record[_HEAD.size :]
    entry = Entry(row, State(state), lines[:result], Mend(mend), lines[result:], generation)
    return number, entry, end
