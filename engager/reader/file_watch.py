"""Detects a change of a file while it is read. Invariant: a file may grow, and nothing else.

A block is passed on only after the file is examined. If its metadata changed, the part that was read is read
once more: if the bytes are the same, the file has grown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, Protocol

from engager.errors import InputError
from engager.reader.sources import blocks, open_stream

_BLOCK = 1 << 18

#: A file that grew is verified again when this many times as much is read, as verifying costs a reading.
_AGAIN = 1.25


class Digest(Protocol):
    """A digest that is being computed."""

    def copy(self) -> Digest:
        """A copy that continues from here."""
        ...

    def update(self, data: bytes, /) -> None:
        """Take bytes in."""
        ...

    def digest(self) -> bytes:
        """The digest of all bytes so far."""
        ...


class FileWatch:
    """Watches one file. Create it when the file is opened."""

    def __init__(self, file: Path, before: Digest) -> None:
        self._file, self._before = file, before.copy()
        self._known = _identity_of(file)
        self._seen_at = 0  #: bytes that were read at the last verification

    def watched(self, data: Iterator[bytes], now: Digest) -> Iterator[bytes]:
        """Yields the bytes of the file; a block is part of `now` already. Raises InputError on a change."""
        read = 0
        for block in data:
            read += len(block)
            self._examine(read, now, last=False)
            yield block
        self._examine(read, now, last=True)

    def _examine(self, read: int, now: Digest, last: bool) -> None:
        found = _identity_of(self._file)
        if found == self._known:
            return
        if found is None or self._known is None or found[:2] != self._known[:2]:
            self._refuse("removed" if found is None else "replaced")
        grown = found[2] > self._known[2]
        if last or not grown or read > self._seen_at * _AGAIN:
            self._seen_at = read
            if not self._still_begins_so(read, now):
                self._refuse("rewritten or shortened")
        self._known = found

    def _still_begins_so(self, read: int, now: Digest) -> bool:
        digest = self._before.copy()
        with open_stream(self._file) as stream:
            for block in blocks(stream, str(self._file), _BLOCK):
                digest.update(block[:read])
                read -= min(read, len(block))
                if not read:
                    return digest.digest() == now.digest()
        return not read and digest.digest() == now.digest()

    def _refuse(self, how: str) -> NoReturn:
        raise InputError(
            f"{self._file}: it was {how} while it was read. Restore it, and run the same command again: "
            "it resumes. A new run would send again to the people that this run has reached."
        )


def _identity_of(file: Path) -> tuple[int, ...] | None:
    """The metadata that changes with the file; None if there is no file."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
