"""Files of lines that are only appended to, and that a kill in the middle of a write cannot spoil.

The ledger knows how long a file is for good. What stands behind that is the beginning of a write that was
never finished; it is cut off, and written again from the journal.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from zlib import crc32

from engager.store.disk import refuse_vanished, sync_data
from engager.store.run_directory import sync_folder

#: Bytes at a file's end, at least, that are known by their checksum.
_WINDOW = 1 << 16


class LineFile:
    """A file, readable by its owner only; made when its first line comes."""

    def __init__(self, path: Path, head: bytes, synced: bool = False) -> None:
        self.path = path
        self._head = head
        self._synced = synced
        self._descriptor: int | None = None
        self.lines = 0  #: lines that stand for good, the head aside
        self._end = 0  #: bytes that stand for good
        self._windows = [(0, 0)]  #: where the last stretches begin, and their checksums

    def append(self, data: bytes, lines: int) -> None:
        """Append so many lines, whole. Raises OSError, or RecordingError when the file was taken away."""
        if lines:
            self.open()
            self._write(data)
            self.lines += lines

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
        refuse_vanished(self._descriptor, self.path)
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        if self._synced:
            sync_data(self._descriptor)
        begin, check = self._windows[-1]
        if self._end - begin >= _WINDOW:
            begin, check = self._end, 0
            self._windows = [self._windows[-1], (begin, check)]
        self._windows[-1] = (begin, crc32(data, check))
        self._end += len(data)

    @property
    def facts(self) -> list[Any]:
        """What the ledger is to remember of it."""
        return [self._end, list(self._windows), self.lines]

    def restore(self, facts: list[Any]) -> bool:
        """Take the file up again as the ledger knows it; False when it is not as it was left.

        What stands behind its end is cut off, to be written again from the journal. A file that is not as
        it was left is not touched: it is for a repair to keep of it what is whole.
        """
        self._end, windows, self.lines = facts
        self._windows = [(begin, check) for begin, check in windows]
        sound = self._is_sound()
        if sound and self.path.exists():
            os.truncate(self.path, self._end)
        return sound

    def _is_sound(self) -> bool:
        """Whether the file's end is what was written."""
        if not self.path.exists():
            return not self._end
        ends = [*(begin for begin, _ in self._windows[1:]), self._end]
        with self.path.open("rb") as file:
            for (begin, check), end in zip(self._windows, ends, strict=True):
                file.seek(begin)
                if crc32(stretch := file.read(end - begin)) != check or len(stretch) < end - begin:
                    return False
        return True

    def replaced(self, lines: int) -> None:
        """Its content was made anew, whole; all of it stands."""
        self.close()
        self.lines = lines
        self._end = self.path.stat().st_size if self.path.exists() else 0
        begin = max(0, self._end - _WINDOW)
        check = 0
        if self._end:
            with self.path.open("rb") as file:
                file.seek(begin)
                check = crc32(file.read())
        self._windows = [(begin, check)]

    def close(self) -> None:
        """Close it, if it was ever opened."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
