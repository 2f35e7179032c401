"""Watches that a file stays what it is while it is read: it may grow, and nothing else.

Every block is handed on only after a look at the file. Where it changed, what was read of it is read once
more: a file of which that is still the beginning has grown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, Protocol

from engager.errors import InputError
from engager.reader.sources import blocks, open_stream

_BLOCK = 1 << 18

#: Growth is believed until so much more was read: to look takes as long as to read.
_AGAIN = 1.25


class Digest(Protocol):
    """A digest under way."""

    def copy(self) -> Digest:
        """One that goes on from here."""
        ...

    def update(self, data: bytes, /) -> None:
        """Take bytes in."""
        ...

    def digest(self) -> bytes:
        """What it says so far."""
        ...


class FileWatch:
    """Looks at one file; made when it is opened."""

    def __init__(self, file: Path, before: Digest) -> None:
        self._file, self._before = file, before.copy()
        self._known = _identity_of(file)
        self._seen_at = 0  #: bytes that were read when it was last read again

    def watched(self, data: Iterator[bytes], now: Digest) -> Iterator[bytes]:
        """The bytes of the file, each block already part of `now`. Raises InputError once it changed."""
        read = 0
        for block in data:
            read += len(block)
            self._look(read, now, last=False)
            yield block
        self._look(read, now, last=True)

    def _look(self, read: int, now: Digest, last: bool) -> None:
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
            f"{self._file}: it was {how} while it was read. Give it back as it was, and the same command "
            "goes on; begun anew, the run would send again to those whom it has reached."
        )


def _identity_of(file: Path) -> tuple[int, ...] | None:
    """What changes when a file changes; None where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
