"""Requests in, the first that repeats the key of an earlier one out: for a warning, not for a decision.

Only a process's first requests are looked at, so that a long run pays nothing for it, and of those not every
one is remembered: a repeat can go unseen. None is made up.
"""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap

from engager.models import EngageRequest, Invalid, Row, Skipped
from engager.requests.key_forms import Fold

#: Told of a repeat: the row, and the earlier one with the same key.
OnRepeat = Callable[[int, int], None]

Build = Callable[[Row], EngageRequest | Invalid | Skipped]

#: Requests that are looked at.
LOOKED_AT = 50_000

_SLOTS = 1 << 17


class RepeatDetector:
    """Looks until it has found a repeat, or has looked at enough."""

    def __init__(self, fold: Fold, tell: OnRepeat) -> None:
        self._fold, self._on_repeat = fold, tell
        self._left = LOOKED_AT
        # Memory that nobody has written to is not taken: a short run takes little.
        self._digests, self._rows = (memoryview(mmap(-1, 8 * _SLOTS)).cast("q") for _ in range(2))

    def observe(self, request: EngageRequest) -> None:
        """Compare a request with those before it."""
        if not self._left:
            return
        self._left -= 1
        # That two of the keys share 64 bits is as likely as one in some million runs of ten million rows.
        digest = hash(self._fold(request.identity or request.key)) or 1
        slot = digest & (_SLOTS - 1)
        known = self._digests[slot]
        if not known:
            self._digests[slot], self._rows[slot] = digest, request.row.number
        elif known == digest:
            self._left = 0
            self._on_repeat(request.row.number, self._rows[slot])

    def wrapping(self, build: Build) -> Build:
        """What builds, and looks at what was built."""

        def built(row: Row) -> EngageRequest | Invalid | Skipped:
            request = build(row)
            if isinstance(request, EngageRequest):
                self.observe(request)
            return request

        return built
