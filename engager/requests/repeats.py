"""Detects the first request that repeats the key of an earlier one: for a warning, never for a decision.

Only the first requests of a process are compared, so that a long run pays nothing, and not all of them are
remembered: a repeat may stay undetected. Invariant: a reported repeat is a repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap

from engager.models import EngageRequest, Invalid, Row, Skipped
from engager.requests.key_forms import Fold

#: Called with the row of a repeat, and the earlier row with the same key.
OnRepeat = Callable[[int, int], None]

Build = Callable[[Row], EngageRequest | Invalid | Skipped]

#: Requests that are compared.
COMPARED = 50_000

_SLOTS = 1 << 17


class RepeatDetector:
    """Compares requests until it finds a repeat, or has compared enough of them."""

    def __init__(self, fold: Fold, on_repeat: OnRepeat) -> None:
        self._fold, self._on_repeat = fold, on_repeat
        self._left = COMPARED
        # The system allocates a page when it is written: a short run uses little memory.
        self._digests, self._rows = (memoryview(mmap(-1, 8 * _SLOTS)).cast("q") for _ in range(2))

    def observe(self, request: EngageRequest) -> None:
        """Compare a request with those before it."""
        if not self._left:
            return
        self._left -= 1
        # Two keys share 64 bits by chance in about one of a million runs of ten million rows.
        digest = hash(self._fold(request.identity or request.key)) or 1
        slot = digest & (_SLOTS - 1)
        known = self._digests[slot]
        if not known:
            self._digests[slot], self._rows[slot] = digest, request.row.number
        elif known == digest:
            self._left = 0
            self._on_repeat(request.row.number, self._rows[slot])

    def wrapping(self, build: Build) -> Build:
        """Returns `build` with observation of the requests that it returns."""

        def built(row: Row) -> EngageRequest | Invalid | Skipped:
            request = build(row)
            if isinstance(request, EngageRequest):
                self.observe(request)
            return request

        return built
