"""Digests of the input's beginning, so that another input is not taken for the same one.

Each is a true statement: a position, and the digest of all bytes before it. Their number stays small
however long the input is: where there are many, each second one goes.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

_ENTRY: Final = Struct("<Q16s")
_MANY: Final = 4096

#: Bytes between two checkpoints: at least, and at most, as what lies between is held while it is verified.
_SPACING: Final = 1 << 16
_WIDEST: Final = 4 << 20

Checkpoint = tuple[int, bytes]


class Checkpoints:
    """The checkpoints of a run."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._latest: Checkpoint = (0, b"")
        self._spacing = _SPACING

    def add(self, position: int, digest: bytes, final: bool) -> None:
        """Add one; unless it is final, a later one takes its place."""
        if final and position - self._end >= self._spacing:
            self._kept.append(_ENTRY.pack(position, digest))
            if len(self._kept) > _MANY and self._spacing < _WIDEST:
                self._spacing *= 2
                del self._kept[::2]
        if position > self._latest[0]:
            self._latest = position, digest

    @property
    def _end(self) -> int:
        return int(_ENTRY.unpack(self._kept[-1])[0]) if self._kept else 0

    def known(self) -> list[Checkpoint]:
        """All of them, in the order of the input."""
        kept = [(position, digest) for position, digest in _ENTRY.iter_unpack(b"".join(self._kept))]
        return kept + ([self._latest] if self._latest[0] > self._end else [])

    def state(self) -> bytes:
        """All of them, for `restored`."""
        return b"".join([_ENTRY.pack(*one) for one in self.known()])

    @classmethod
    def restored(cls, data: bytes) -> Checkpoints:
        """What `state` said."""
        checkpoints = cls()
        for position, digest in _ENTRY.iter_unpack(data):
            checkpoints.add(position, digest, True)
        return checkpoints
