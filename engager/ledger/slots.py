"""Open rows: those of which a try has left and that are not settled. As many as the crew, at most.

Each has a slot of two copies that are written in turn, each with a checksum: a copy that a kill tore is
passed over, and the one before it counts. A row in its first try has none for a moment; that moment is kept
in the slot of a row that no input has, the horizon.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, filterfalse
from struct import Struct
from typing import Final
from zlib import crc32

from engager.errors import RecordingError
from engager.model import Life
from engager.store.clock import Moment

#: Slots; more than the largest crew.
SLOTS: Final = 8192

_FACTS: Final = Struct("<QQIIddQB")  # version, row, attempts, generation, wall, boot, boot id, flags
_CHECK: Final = Struct("<I")

#: Bytes of a copy of a slot.
CHECKED: Final = _FACTS.size + _CHECK.size
_STEP: Final = 64
_COPY: Final = SLOTS * _STEP

#: Slots that are looked through together.
_AT_ONCE: Final = 64

#: The row that stands for the horizon: those of an input are counted from 1.
HORIZON: Final = 0

#: Bytes of all slots. The two copies of a slot lie far apart: a torn sector takes one of them at most.
SIZE: Final = 2 * _COPY

_IN_FLIGHT: Final = 1
_IN_DOUBT: Final = 2
_ASKED_FOR: Final = 4


@dataclass(frozen=True, slots=True)
class OpenRow:
    """What a slot says."""

    row: int
    attempts: int
    generation: int
    first_left: Moment
    in_flight: bool  #: a try left and nothing was heard since
    in_doubt: bool  #: an earlier try may have been taken
    asked_for: bool = False  #: the operator wants another try all the same


class Slots:
    """The slots in a part of the ledger."""

    def __init__(self, memory: mmap.mmap, offset: int, boot_id: int) -> None:
        self._memory, self._offset, self._boot_id = memory, offset, boot_id
        self._versions: dict[int, int] = {}
        self.rows: dict[int, int] = {}  #: those that have a slot, and which
        self._given_back: list[int] = []
        self._unused: Iterator[int] = iter(range(SLOTS))
        self._written: set[int] = set()  #: where copies were stored since the last look

    def write(self, row: int, life: Life, first_left: float, wall: float, in_flight: bool) -> None:
        """Say what is known of an open row; when its first try left, on the boot clock and the wall's."""
        slot = self.rows.get(row)
        if slot is None:
            slot = self.rows[row] = self._taken()
        self._versions[slot] = version = self._versions.get(slot, 0) + 1
        flags = in_flight * _IN_FLIGHT | life.in_doubt * _IN_DOUBT | life.asked_for * _ASKED_FOR
        facts = _FACTS.pack(
            version, row, life.attempts, life.generation, wall, first_left, self._boot_id, flags
        )
        at = (version & 1) * _COPY + slot * _STEP
        begin = self._offset + at
        self._memory[begin : begin + CHECKED] = facts + _CHECK.pack(crc32(facts))
        self._written.add(at)

    def written(self) -> list[tuple[int, bytes]]:
        """Copies that were stored since this was last asked, and where they stand."""
        places, self._written = self._written, set()
        return [(at, self._memory[self._offset + at : self._offset + at + CHECKED]) for at in places]

    def redo(self, at: int, copy: bytes) -> int | None:
        """Store a copy again where nothing newer stands; the row that it speaks of, if it is whole."""
        told, known = _parsed(copy), self._read(at)
        if told is None:
            return None
        if known is None or known[0] < told[0]:
            self._memory[self._offset + at : self._offset + at + CHECKED] = copy
        return told[1].row

    def _taken(self) -> int:
        slot = self._given_back.pop() if self._given_back else next(self._unused, None)
        if slot is None:
            raise RecordingError(f"{SLOTS:,} rows are under way. Lower limits.concurrency.")
        return slot

    @property
    def are_scarce(self) -> bool:
        """Whether there is none left for another row, but for those that the crew needs."""
        return len(self.rows) >= SLOTS // 2

    def wipe(self, row: int) -> None:
        """Give up the slot of a row that it does not speak of any more: what it says must not come back."""
        if (slot := self.rows.get(row)) is not None:
            for copy in (0, 1):
                begin = self._offset + copy * _COPY + slot * _STEP
                self._memory[begin : begin + _STEP] = bytes(_STEP)
            self.free(row)

    def free(self, row: int) -> None:
        """Give up the slot of a row that is settled."""
        slot = self.rows.pop(row, None)
        if slot is not None:
            self._given_back.append(slot)

    def recover(self) -> list[OpenRow]:
        """Read what an earlier process left; its rows keep their slots."""
        found = []
        for slot, version, row in self._newest():
            self._versions[slot] = version
            self.rows[row.row] = slot
            found.append(row)
        self._unused = filterfalse(set(self.rows.values()).__contains__, range(SLOTS))
        return found

    def clear(self) -> None:
        """Forget every row."""
        self._memory[self._offset : self._offset + SIZE] = bytes(SIZE)
        self.__init__(self._memory, self._offset, self._boot_id)  # type: ignore[misc]

    def _newest(self) -> Iterator[tuple[int, int, OpenRow]]:
        for slot in chain.from_iterable(map(self._used, range(0, SLOTS, _AT_ONCE))):
            copies = filter(None, [self._read(copy * _COPY + slot * _STEP) for copy in (0, 1)])
            if newest := max(copies, key=lambda read: read[0], default=None):
                yield slot, *newest

    def _used(self, first: int) -> range:
        """Some slots, or none where nothing was ever written: most of them."""
        begins = [self._offset + copy * _COPY + first * _STEP for copy in (0, 1)]
        used = [self._memory[begin : begin + _AT_ONCE * _STEP].strip(b"\0") for begin in begins]
        return range(first, first + _AT_ONCE) if any(used) else range(0)

    def _read(self, at: int) -> tuple[int, OpenRow] | None:
        return _parsed(self._memory[self._offset + at : self._offset + at + CHECKED])


def _parsed(copy: bytes) -> tuple[int, OpenRow] | None:
    """The version of a copy and what it says, if it is whole."""
    facts, check = copy[: _FACTS.size], copy[_FACTS.size :]
    version, row, attempts, generation, wall, boot, boot_id, flags = _FACTS.unpack(facts)
    if not version or _CHECK.unpack(check)[0] != crc32(facts):
        return None
    first_left = Moment(wall, boot, boot_id)
    told = (bool(flags & flag) for flag in (_IN_FLIGHT, _IN_DOUBT, _ASKED_FOR))
    return version, OpenRow(row, attempts, generation, first_left, *told)
