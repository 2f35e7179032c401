"""Files in memory: what is stored in them outlives the process, at whatever instruction it is killed.

A store into a shared mapping is in the kernel's page cache at once, without a system call. Space is
taken from the disk before it is mapped: a full disk is an error that can be told, not a dead process.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from engager.errors import RecordingError
from engager.store.disk import refuse_vanished, refusing, sync_data

_ZEROS = bytes(1 << 16)


class MappedFile:
    """A file, readable by its owner only, of which parts are mapped. Raises RecordingError without space."""

    def __init__(self, path: Path, writable: bool = True) -> None:
        self.path = path
        self._writable = writable
        flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        self.descriptor = os.open(path, flags, 0o600)
        self._maps: list[mmap.mmap] = []

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return os.fstat(self.descriptor).st_size

    def map(self, offset: int, length: int) -> mmap.mmap:
        """Map a part, which is made where there is none. `offset` is a multiple of the page's size."""
        if self.size < offset + length:
            self._allocate(offset, length)
        access = mmap.ACCESS_WRITE if self._writable else mmap.ACCESS_READ
        mapped = mmap.mmap(self.descriptor, length, access=access, offset=offset)
        self._maps.append(mapped)
        return mapped

    def _allocate(self, offset: int, length: int) -> None:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.descriptor, offset, length)
            else:
                for begin in range(offset, offset + length, len(_ZEROS)):
                    os.pwrite(self.descriptor, _ZEROS[: offset + length - begin], begin)
        except OSError as fault:
            # A part that is only half there would be taken for a whole one by the next process.
            os.ftruncate(self.descriptor, offset)
            raise RecordingError(
                f"{self.path}: there is no space for the ledger: {fault.strerror or fault}. "
                "Free some space and run the same command again."
            ) from fault

    def sync(self) -> None:
        """Bring all that was stored to the disk. Raises RecordingError."""
        with refusing(self.path):
            if not hasattr(os, "fdatasync"):
                for mapped in self._maps:
                    mapped.flush()
            sync_data(self.descriptor)

    def refuse_vanished(self) -> None:
        """Raises RecordingError when its name was removed: what is stored from now on is lost."""
        refuse_vanished(self.descriptor, self.path)

    def close(self) -> None:
        """Give up the file and what is mapped of it."""
        for mapped in self._maps:
            mapped.close()
        self._maps.clear()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def forget(memory: mmap.mmap) -> None:
    """Give up the memory that a mapping takes: what was stored stays with the file."""
    if hasattr(mmap, "MADV_DONTNEED"):
        memory.madvise(mmap.MADV_DONTNEED)
