"""Parts of bodies that rows share, such as attachments: each travels to a sender once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

#: Bytes from which a part is worth it.
_LEAST: Final = 32 * 1024

#: Large parts that are remembered. A sender keeps as many at most.
_MOST: Final = 16


class SharedParts:
    """Recognizes parts that come again. Rows share one object, so that no bytes need be compared."""

    def __init__(self) -> None:
        #: By identity: the part, which keeps its identity from being used again, and its number.
        self._seen: OrderedDict[int, tuple[bytes, int]] = OrderedDict()
        self._free = list(range(_MOST))

    def number_of(self, part: bytes) -> int | None:
        """The number of a part that came before; None for one that is small, or new."""
        if len(part) < _LEAST:
            return None
        if (seen := self._seen.get(id(part))) is not None:
            self._seen.move_to_end(id(part))
            return seen[1]
        number = self._free.pop() if self._free else self._seen.popitem(last=False)[1][1]
        self._seen[id(part)] = part, number
        return None


class SentParts:
    """The parts that one sender keeps."""

    def __init__(self, shared: SharedParts) -> None:
        self._shared = shared
        self._kept: dict[int, bytes] = {}

    def batch(self) -> BatchParts:
        """The parts of the requests that are handed out together."""
        return BatchParts(self._shared, self._kept)


class BatchParts:
    """The parts of the requests of one batch. Within it, a number stands for one part only."""

    def __init__(self, shared: SharedParts, kept: dict[int, bytes]) -> None:
        self._shared, self._kept = shared, kept
        self._used: dict[int, bytes] = {}
        self.new: dict[int, bytes] = {}  #: those that the sender lacks

    def replaced(self, body: tuple[bytes, ...]) -> tuple[bytes | int, ...]:
        """A body with numbers for the parts that the sender keeps."""
        if sum(map(len, body)) < _LEAST:
            return body
        return tuple([self._part(part) for part in body])

    def _part(self, part: bytes) -> bytes | int:
        number = self._shared.number_of(part)
        if number is None or self._used.get(number, part) is not part:
            return part
        self._used[number] = part
        if self._kept.get(number) is not part:
            self._kept[number] = self.new[number] = part
        return number
