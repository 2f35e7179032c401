"""What a power cut must not take, in one small write: a log of what was stored in the ledger.

To bring mapped memory to the disk costs the processor several times as much as a write into a file whose
blocks are there already, and takes as much longer. So a sync only adds a block to this log; when it is full,
the ledger itself is brought to the disk, and the log begins anew. What the disk may have lost of the ledger
in a power cut is stored again from the blocks.

A block does no harm, however old it is: what it says is only taken where the ledger knows less. So nobody has
to write down how far the log counts; and after a mere kill, when the ledger knows it all, nothing changes.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from struct import Struct, pack
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from engager.errors import RecordingError
from engager.ledger import slots
from engager.ledger.journal import Mark
from engager.ledger.states import State
from engager.store.disk import refuse_vanished, refusing
from engager.store.run_directory import sync_folder

if TYPE_CHECKING:
    from engager.ledger.ledger import Ledger

#: Bytes of a log; less where a test wants to see it full, which is why it is not final.
SIZE = 4 << 20

#: One call writes and syncs: each further one would have to wait in line for the interpreter.
_SYNCED: Final = getattr(os, "O_DSYNC", os.O_SYNC)

#: Each block begins on a sector of its own: the write of the next one cannot tear it.
_SECTOR: Final = 4096

#: How far a row has come. What is damaged is for nobody to say.
_STEPS: Final = ({State.UNTOUCHED}, {State.AGAIN, State.AGAIN_IN_DOUBT}, {State.OPEN}, {State.SLOTTED})
_FAR_AS: Final = {state: step for step, states in enumerate(_STEPS) for state in states}
_END: Final = len(_STEPS)


class _Head(NamedTuple):
    epoch: bytes  #: of the process, or the part of its life, that the block belongs to
    number: int  #: of the block, in its epoch
    open_rows: int  #: how many
    slots: int
    stretches: int
    size: int  #: bytes of all stretches


_CHECK: Final = Struct("<I")
_HEAD: Final = Struct("<8sQIIII")
_PREFIX: Final = _CHECK.size + _HEAD.size
_ROW: Final = Struct("<Q")
_SLOT: Final = Struct(f"<I{slots.CHECKED}s")
_STRETCH: Final = Struct("<II")


class Block(NamedTuple):
    """What was stored since the block before."""

    open_rows: Sequence[int] = ()  #: rows in their first try
    slots: Sequence[tuple[int, bytes]] = ()  #: copies of slots, and where they stand
    stretches: Sequence[tuple[int, bytes | memoryview]] = ()  #: of the journal, and where they stand


class RedoLog:
    """The log beside a ledger, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it. Raises RecordingError, as without space."""
        self._path = path
        self._epoch, self._number, self._at = os.urandom(8), 0, 0
        self._buffer = memoryview(mmap.mmap(-1, SIZE))  #: from where blocks can go to the disk without a copy
        try:
            self._descriptor = _opened(path, self._buffer)
            sync_folder(path.parent)
        except OSError as fault:
            raise RecordingError(
                f"{path}: the ledger cannot be kept: {fault.strerror}. "
                "Mend that and run the same command again."
            ) from fault

    def add(self, block: Block) -> Callable[[], None] | None:
        """What brings a block to the disk; None where there is no room for it.

        It is to be called before the next block is added, and raises RecordingError.
        """
        facts = _packed(block, self._epoch, self._number)
        begin, end = self._at, len(facts) + sum(len(data) for _, data in block.stretches)
        behind = _next_sector(begin + end)
        if behind > SIZE:
            return None
        at, buffer = len(facts), self._buffer
        buffer[:at] = facts
        for _, data in block.stretches:
            buffer[at : at + len(data)] = data
            at += len(data)
        self._at, self._number = behind, self._number + 1
        return partial(self._write, buffer[: behind - begin], begin)

    def begin_anew(self) -> None:
        """The ledger is on its way to the disk: there is room again behind that."""
        self._at = 0

    def forget(self) -> None:
        """The ledger is on the disk: none of the blocks is to be found again.

        Raises RecordingError.
        """
        self._epoch, self._at = os.urandom(8), 0
        if (add := self.add(Block())) is not None:
            add()

    def blocks(self) -> Iterator[Block]:
        """What an earlier process added since it last began anew, up to what is not whole."""
        with self._path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as log:
            at, before = 0, None
            while found := _unpacked(log, at):
                head, block, end = found
                if before is not None and (head.epoch, head.number) != (before.epoch, before.number + 1):
                    return
                yield block
                at, before = _next_sector(end), head

    def refuse_vanished(self) -> None:
        """Raises RecordingError when its name was removed: what is added from now on is lost."""
        refuse_vanished(self._descriptor, self._path)

    def _write(self, data: memoryview, begin: int) -> None:
        with refusing(self._path):
            _write(self._descriptor, data, begin)

    def close(self) -> None:
        """Close it; what was added stays."""
        os.close(self._descriptor)


def store_again(blocks: Iterable[Block], ledger: Ledger, mark: Mark) -> None:
    """Store what a power cut took; what is before the mark in the journal is in its files."""
    for block in blocks:
        for row in block.open_rows:
            _has_come_to(ledger, row, State.OPEN)
        for at, copy in block.slots:
            if slotted := ledger.slots.redo(at, copy):  # none, or the horizon, is no row
                _has_come_to(ledger, slotted, State.SLOTTED)
        for at, stretch in block.stretches:
            for row, state in ledger.journal.redo(at, stretch, mark):
                _has_come_to(ledger, row, state)


def _has_come_to(ledger: Ledger, row: int, state: State) -> None:
    """A row is in this state or further."""
    ledger.rows.reach(row)
    known = ledger.rows.of(row)
    if _FAR_AS.get(known, _END) < _FAR_AS.get(state, _END):
        ledger.rows.store(row, state)


def _opened(path: Path, zeros: memoryview) -> int:
    """The log's descriptor; past the cache of the system, where its file system can do that."""
    direct = getattr(os, "O_DIRECT", 0)
    try:
        return _made(path, direct, zeros)
    except OSError as fault:
        if fault.errno != errno.EINVAL or not direct:
            raise
        return _made(path, 0, zeros)


def _made(path: Path, flag: int, zeros: memoryview) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _SYNCED | flag, 0o600)
    try:
        if os.fstat(descriptor).st_size != SIZE:
            # Written, and not only promised: a sync need not note then where on the disk a block is.
            os.ftruncate(descriptor, 0)
            _write(descriptor, zeros, 0)
        os.preadv(descriptor, [zeros[:_SECTOR]], 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write(descriptor: int, data: memoryview, begin: int) -> None:
    if os.pwrite(descriptor, data, begin) < len(data):
        raise OSError(errno.EIO, "a write broke off")


def _next_sector(at: int) -> int:
    return -(-at // _SECTOR) * _SECTOR


def _packed(block: Block, epoch: bytes, number: int) -> bytes:
    """All but the stretches, which have checksums of their own, and follow."""
    size = sum(len(data) for _, data in block.stretches)
    counts = len(block.open_rows), len(block.slots), len(block.stretches)
    facts = b"".join(
        [
            _HEAD.pack(epoch, number, *counts, size),
            pack(f"<{len(block.open_rows)}Q", *block.open_rows),
            *[_SLOT.pack(at, copy) for at, copy in block.slots],
            *[_STRETCH.pack(at, len(data)) for at, data in block.stretches],
        ]
    )
    return _CHECK.pack(crc32(facts)) + facts


def _unpacked(log: mmap.mmap, at: int) -> tuple[_Head, Block, int] | None:
    """The block that begins there, if there is one, and where it ends."""
    if at + _PREFIX > len(log):
        return None
    head = _Head._make(_HEAD.unpack_from(log, at + _CHECK.size))
    slots_at = at + _PREFIX + head.open_rows * _ROW.size
    stretches_at = slots_at + head.slots * _SLOT.size
    data_at = stretches_at + head.stretches * _STRETCH.size
    (check,) = _CHECK.unpack_from(log, at)
    if data_at + head.size > len(log) or check != crc32(log[at + _CHECK.size : data_at]):
        return None
    stretches, end = [], data_at
    for place, length in _STRETCH.iter_unpack(log[stretches_at:data_at]):
        stretches.append((place, log[end : end + length]))
        end += length
    rows = [row for (row,) in _ROW.iter_unpack(log[at + _PREFIX : slots_at])]
    return head, Block(rows, list(_SLOT.iter_unpack(log[slots_at:stretches_at])), stretches), end
