"""The state of every row, one byte each; a block of rows that no longer changes is compressed.

Rows settle nearly in the order of the input, so few blocks are uncompressed. For each block, a moment is
stored that is not later than any first attempt of its failed rows.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any, Final

from engager.models import Status

#: Rows of a block, and blocks that are uncompressed.
BLOCK: Final = 1 << 16
_HOT: Final = 8

UNTOUCHED: Final = 0
ENGAGED: Final = 1
REJECTED: Final = 2
INVALID: Final = 3
SKIPPED: Final = 4
ACCEPTED: Final = 5

# The lower five bits of these are the version of the request id. A larger one is stored as the highest: the
# endpoint returns an old error for such an id, and the next version follows.
FAILED: Final = 0x20
IN_DOUBT: Final = 0x40
AGAIN: Final = 0x60  #: it had failed, and another pass was requested
AGAIN_IN_DOUBT: Final = 0x80  #: it was in doubt, and another pass was requested
LOST: Final = 0xA0  #: an attempt may have left, and the part of the journal that would say so is damaged
VERSIONS: Final = 0x1F

#: A settled row whose lines the files lost; the lower bits are its status.
LINE_LOST: Final = 0xC0

# A code of `LINE_LOST` is a place in this order: a new status comes last.
_CODES: Final = {
    Status.ENGAGED: ENGAGED,
    Status.REJECTED: REJECTED,
    Status.INVALID: INVALID,
    Status.SKIPPED: SKIPPED,
    Status.FAILED: FAILED,
    Status.IN_DOUBT: IN_DOUBT,
    Status.ACCEPTED: ACCEPTED,
}
_STATUSES: Final = {code: status for status, code in _CODES.items()}

#: The status of each code; None for rows that are not settled.
STATUS_OF: Final = [_STATUSES.get(code if code < FAILED else code & ~VERSIONS) for code in range(256)]
_LOST_STATUSES: Final = {LINE_LOST + index: status for index, status in enumerate(_CODES)}
ALL_SETTLED: Final = bytes(code for code, status in enumerate(STATUS_OF) if status is not None)


def code_of(status: Status, version: int = 0) -> int:
    """The code of a settled row."""
    code = _CODES[status]
    return code if code < FAILED else code + min(version, VERSIONS)


def is_lost(code: int) -> bool:
    """Whether the journal lost its records of a row, and so which request carried it."""
    return code & ~VERSIONS == LOST


def code_without_line(status: Status) -> int:
    """The code of a settled row whose lines the files lost."""
    return LINE_LOST + list(_CODES).index(status)


def status_without_line(code: int) -> Status | None:
    """The status of a settled row whose lines the files lost; None for any other row."""
    return _LOST_STATUSES.get(code)


class RowStates:
    """The state of each row so far. Rows are counted from 1."""

    def __init__(self) -> None:
        self._hot: dict[int, bytearray] = {}
        self._packed: dict[int, bytes] = {}
        self._moments: dict[int, float] = {}
        self._unpacked: tuple[bytes, bytes] = (b"", b"")  #: the block that was read last

    def store(self, row: int, code: int) -> None:
        """Set the code of one row."""
        self.store_all((row,), code)

    def store_all(self, rows: Sequence[int], code: int) -> None:
        """Set the code of some rows."""
        hot = self._hot
        for row in rows:
            place = row - 1
            block = hot.get(place >> 16)
            if block is None:
                block = self._heat(place >> 16)
            block[place & 0xFFFF] = code

    def _heat(self, index: int) -> bytearray:
        if len(self._hot) >= _HOT:
            coldest = next(iter(self._hot))
            self._packed[coldest] = _packed(self._hot[coldest])
            del self._hot[coldest]
        block = self._hot[index] = bytearray(_unpacked(self._packed.get(index)))
        self._packed.pop(index, None)
        return block

    def __getitem__(self, row: int) -> int:
        """The code of one row."""
        return self.read(row, 1)[0]

    def read(self, first: int, count: int) -> bytes:
        """The codes of consecutive rows."""
        index, place = (first - 1) >> 16, (first - 1) & 0xFFFF
        found = bytes(self._block(index)[place : place + count])
        while len(found) < count:
            index += 1
            found += bytes(self._block(index)[: count - len(found)])
        return found

    def _block(self, index: int) -> bytes | bytearray:
        if (hot := self._hot.get(index)) is not None:
            return hot
        packed = self._packed.get(index)
        if packed is None:
            return _unpacked(None)
        if self._unpacked[0] is not packed:
            self._unpacked = packed, _unpacked(packed)
        return self._unpacked[1]

    def blocks(self) -> Iterator[tuple[int, bytes | bytearray]]:
        """Each block that was touched: the number of its first row, and its codes."""
        for index in sorted({*self._hot, *self._packed}):
            yield (index << 16) + 1, self._block(index)

    def count(self) -> Counter[int]:
        """The number of rows by code, without untouched rows."""
        counts: Counter[int] = Counter()
        for _, block in self.blocks():
            for code in set(block) - {UNTOUCHED}:
                counts[code] += block.count(code)
        return counts

    def count_statuses(self) -> Counter[Status]:
        """The number of settled rows by status."""
        counts: Counter[Status] = Counter()
        for code, rows in self.count().items():
            if (status := STATUS_OF[code]) is not None:
                counts[status] += rows
        return counts

    @property
    def end(self) -> int:
        """A row number that is larger than that of each row with a state."""
        return max((first + BLOCK for first, _ in self.blocks()), default=1)

    def mark(self, row: int, moment: float) -> None:
        """Store when the first attempt of a row left, in seconds on the boot clock."""
        index = (row - 1) >> 16
        self._moments[index] = min(self._moments.get(index, inf), moment)

    def moment(self, row: int) -> float:
        """A moment that is not later than the first attempt of a marked row; minus infinity: unknown."""
        return self._moments.get((row - 1) >> 16, -inf)

    def shift(self, seconds: float) -> None:
        """Move every moment to another clock; minus infinity: no clock knows them."""
        self._moments = {index: moment + seconds for index, moment in self._moments.items()}

    def lose(self, last: int) -> None:
        """Record of each row up to this one that an attempt may have left, unless it is settled."""
        lost = bytes(
            LOST + (code & VERSIONS) if code == UNTOUCHED or code & ~VERSIONS == AGAIN else code
            for code in range(256)
        )
        for index in range((last + BLOCK - 1) >> 16):
            block, end = self._block(index), min(BLOCK, last - (index << 16))
            changed = block[:end].translate(lost) + block[end:]
            if changed != block:
                self._heat(index)[:] = changed

    def change(self, forms: Mapping[int, int]) -> bytearray:
        """Give rows of some forms another one, with their versions; returns which, a byte a row.

        Forms are codes without a version.
        """
        marks = bytes(code & ~VERSIONS in forms for code in range(256))
        codes = bytes(
            forms.get(code & ~VERSIONS, code & ~VERSIONS) + (code & VERSIONS) for code in range(256)
        )
        changed = bytearray(self.end)
        for first, block in [*self.blocks()]:
            found = block.translate(marks)
            if any(found):
                changed[first : first + BLOCK] = found
                self._heat((first - 1) >> 16)[:] = block.translate(codes)
        return changed

    def state(self) -> tuple[dict[str, Any], bytes]:
        """Returns the whole state for `restored`: facts as JSON values, and bytes."""
        packed = {index: _packed(self._block(index)) for index in sorted({*self._hot, *self._packed})}
        facts = {
            "blocks": [[index, len(data)] for index, data in packed.items()],
            "moments": [*self._moments.items()],
        }
        return facts, b"".join(packed.values())

    @classmethod
    def restored(cls, facts: dict[str, Any], data: bytes) -> RowStates:
        """The states that `state` returned."""
        states, at = cls(), 0
        for index, length in facts["blocks"]:
            states._packed[index] = data[at : at + length]
            at += length
        # JSON has no infinity.
        states._moments = {index: -inf if moment is None else moment for index, moment in facts["moments"]}
        return states


def _packed(block: bytes | bytearray) -> bytes:
    return bytes(block[:1]) if block.count(block[0]) == BLOCK else zlib.compress(block, 1)


def _unpacked(packed: bytes | None) -> bytes:
    if packed is None:
        return bytes(BLOCK)
    return packed * BLOCK if len(packed) == 1 else zlib.decompress(packed)
