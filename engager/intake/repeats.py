"""Requests in, the first that repeats the key of an earlier one out: for a warning, not for a decision.

A look costs a row half a microsecond and a run two megabytes, whatever the length of the input: about the
first hundred thousand keys are remembered. A repeat of a later row can go unseen; none is made up.
"""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap

from engager.intake.selection import Fold
from engager.model import EngageRequest, Invalid, Row

#: Told of a repeat: the row, and the earlier one with the same key.
Repeated = Callable[[int, int], None]

Build = Callable[[Row], EngageRequest | Invalid]

_SLOTS = 1 << 17


class Repeats:
    """Looks until it has found a repeat."""

    def __init__(self, fold: Fold, tell: Repeated) -> None:
        self._fold, self._tell = fold, tell
        self._found = False
        # Memory that nobody has written to is not taken: a short run takes little.
        self._digests, self._rows = (memoryview(mmap(-1, 8 * _SLOTS)).cast("q") for _ in range(2))

    def look(self, request: EngageRequest) -> None:
        """Compare a request with those before it."""
        if self._found:
            return
        # That two of the keys share 64 bits is as likely as one in some million runs of ten million rows.
        digest = hash(self._fold(request.identity or request.key)) or 1
        slot = digest & (_SLOTS - 1)
        known = self._digests[slot]
        if not known:
            self._digests[slot], self._rows[slot] = digest, request.row.number
        elif known == digest:
            self._found = True
            self._tell(request.row.number, self._rows[slot])

    def beside(self, build: Build) -> Build:
        """What builds, and looks at what was built."""

        def built(row: Row) -> EngageRequest | Invalid:
            request = build(row)
            if isinstance(request, EngageRequest):
                self.look(request)
            return request

        return built
