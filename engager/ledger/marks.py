"""Digests of the input as far as it was read, so that another input is not taken for the same one.

Every mark is a true statement about the input's beginning: its length and its digest. Which ones
survive a kill does not matter for their truth, only for how much of the input they cover.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from struct import Struct
from zlib import crc32

from engager.ledger.mapped import MappedFile
from engager.store.run_directory import sync_folder

_MARK = Struct("<Q16s")
_CHECK = Struct("<I")
_STEP = 32
_PART = 1 << 16
_A_PART = _PART // _STEP


def read_marks(path: Path) -> list[tuple[int, bytes]]:
    """Every mark of a file, in the order of the input; none if nothing was read yet."""
    data = path.read_bytes() if path.exists() else b""
    found = set()
    for begin in range(0, len(data) - _STEP + 1, _STEP):
        raw = data[begin : begin + _MARK.size]
        (check,) = _CHECK.unpack_from(data, begin + _MARK.size)
        position, digest = _MARK.unpack(raw)
        if position and crc32(raw) == check:
            found.add((position, digest))
    return sorted(found)


class Marks:
    """The file of marks, to be added to."""

    def __init__(self, path: Path, synced: bool = False) -> None:
        known = len(read_marks(path))
        self._file = MappedFile(path)
        self._synced = synced
        self._is_stale = False  #: the disk has not all of them
        self._parts: list[mmap.mmap] = []
        # Behind all that is known: two more for the provisional ones.
        self._kept = known + 2 if known else 0
        self._turn = 0

    def keep(self, position: int, digest: bytes, final: bool) -> None:
        """Add a mark before any row that it covers is handed out. A later one may replace it unless final."""
        facts = _MARK.pack(position, digest)
        if final:
            self._store(self._kept, facts)
            self._kept += 1
        else:
            self._turn ^= 1
            self._store(self._kept + self._turn, facts)
        self._is_stale = self._synced

    def sync(self) -> None:
        """Bring them to the disk, before a row leaves that they cover. Raises RecordingError."""
        if self._is_stale:
            self._is_stale = False
            self._file.sync()

    def _store(self, index: int, facts: bytes) -> None:
        part, place = divmod(index, _A_PART)
        while len(self._parts) <= part:
            self._parts.append(self._file.map(len(self._parts) * _PART, _PART))
            if self._synced:
                sync_folder(self._file.path.parent)
        begin = place * _STEP
        self._parts[part][begin : begin + _MARK.size + _CHECK.size] = facts + _CHECK.pack(crc32(facts))

    def close(self) -> None:
        """Close the file."""
        self._parts.clear()
        self._file.close()
