"""Files of lines that are only appended to, and that a kill in the middle of a write cannot spoil.

The ledger knows how long a file is for good. What stands behind that is the beginning of a write that was
never finished; it is cut off, and written again from the journal.
"""

from __future__ import annotations

import os
from pathlib import Path
from zlib import crc32

from engager.errors import RecordingError
from engager.ledger.run_directory import sync_folder


class LineFile:
    """A file, readable by its owner only; made when its first line comes."""

    def __init__(self, path: Path, head: bytes, synced: bool = False) -> None:
        self.path = path
        self._head = head
        self._synced = synced
        self._descriptor: int | None = None
        self._end = 0  #: bytes that stand for good
        self._chunk = (0, 0)  #: where the last write began, and its checksum

    def append(self, lines: list[bytes]) -> None:
        """Append some lines, whole. Raises OSError, or RecordingError when the file was taken away."""
        if not lines:
            return
        self.open()
        self._write(b"".join(lines))

    def open(self) -> None:
        """Make the file, with its head."""
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            self._descriptor = os.open(self.path, flags | (0 if self._end else os.O_TRUNC), 0o600)
            if self._synced:
                sync_folder(self.path.parent)
            if not self._end:
                self._write(self._head)

    def _write(self, data: bytes) -> None:
        assert self._descriptor is not None  # noqa: S101 - only called behind open()
        if os.fstat(self._descriptor).st_nlink == 0:
            raise RecordingError(f"{self.path}: the file was removed while the run was writing to it.")
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        if self._synced:
            os.fdatasync(self._descriptor)
        if data:
            self._chunk = (self._end, crc32(data))
            self._end += len(data)

    @property
    def facts(self) -> list[int]:
        """What the ledger is to remember of it."""
        return [self._end, *self._chunk]

    def restore(self, facts: list[int]) -> bool:
        """Take the file up again as the ledger knows it; False when it is not as it was left."""
        end, begin, check = facts
        if not end:
            return True
        if not self.path.exists() or self.path.stat().st_size < end:
            return False
        with self.path.open("r+b") as file:
            file.seek(begin)
            if crc32(file.read(end - begin)) != check:
                return False
            file.truncate(end)
        self._end, self._chunk = end, (begin, check)
        return True

    def replaced(self) -> None:
        """Its content was made anew, whole; all of it stands."""
        self.close()
        self._end = self.path.stat().st_size if self.path.exists() else 0
        self._chunk = (self._end, 0)

    def close(self) -> None:
        """Close it, if it was ever opened."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
