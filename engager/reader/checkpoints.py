"""Digests of the beginning of the input, by which a resumed run detects another input.

Invariant: a checkpoint is a position and the digest of all bytes before it. Memory is bounded: when the list
is full, every second checkpoint is removed.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

_ENTRY: Final = Struct("<Q16s")
_MANY: Final = 4096

#: Bytes between two checkpoints, at least and at most: the bytes between them are buffered for verification.
_SPACING: Final = 1 << 16
_WIDEST: Final = 4 << 20

Checkpoint = tuple[int, bytes]


class Checkpoints:
    """The checkpoints of a run."""

    def __init__(self) -> None:
        self._final: list[bytes] = []
        self._latest: Checkpoint = (0, b"")
        self._spacing = _SPACING

    def add(self, position: int, digest: bytes, final: bool) -> None:
        """Add a checkpoint. One that is not final is replaced by the next one."""
        if final and position - self._end >= self._spacing:
            self._final.append(_ENTRY.pack(position, digest))
            if len(self._final) > _MANY and self._spacing < _WIDEST:
                self._spacing *= 2
                del self._final[::2]
        if position > self._latest[0]:
            self._latest = position, digest

    @property
    def _end(self) -> int:
        return int(_ENTRY.unpack(self._final[-1])[0]) if self._final else 0

    def known(self) -> list[Checkpoint]:
        """Returns all checkpoints, in the order of the input."""
        final = [(position, digest) for position, digest in _ENTRY.iter_unpack(b"".join(self._final))]
        return final + ([self._latest] if self._latest[0] > self._end else [])
