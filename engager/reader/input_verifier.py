"""Verifies that a resumed run reads the input that it began with, and records checkpoints of it.

Invariant: no row of a changed part is passed on. The cost is a digest of all that is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import NoReturn

from engager.errors import InputError
from engager.reader.objects import OBJECTS

#: The end of a row of a program.
_END = b"\n"

#: Bytes of the input between two final checkpoints.
SPACING = 1 << 16

_SAME_INPUT = (
    "Give it the same input again. A new run (--out) sends again to the people that this one has reached, "
    "unless --after names this one."
)
_SAME_ROWS = (
    "Give the same rows in the same order again. A new run (another out=) sends again to the people that "
    "this one has reached, unless after=[...] names this one."
)

#: A position in the input, the digest of all bytes before it, and whether the checkpoint is final.
OnCheckpoint = Callable[[int, bytes, bool], None]


class InputVerifier:
    """Verifies one reading of the input, over all its files."""

    def __init__(self, known: Iterable[tuple[int, bytes]] = ()) -> None:
        self._known = deque(sorted(known))
        self.digest = blake2b(digest_size=16)  #: of all bytes that were passed on
        self._position = 0
        self._rows = 0  #: whole rows that were passed on, of rows of a program: each is one line
        self._last_final = 0
        self._source = ""
        self._early: list[tuple[int, bytes, bool]] = []
        self._on_checkpoint: OnCheckpoint = lambda *mark: self._early.append(mark)

    def notify(self, keep: OnCheckpoint) -> None:
        """Call `keep` with every checkpoint, also those of the bytes that were read before."""
        self._on_checkpoint = keep
        for mark in self._early:
            keep(*mark)
        self._early.clear()

    def watch(self, blocks: Iterable[bytes], source: str, last: bool) -> Iterator[bytes]:
        """Yields the blocks of one file. Raises InputError if they differ from what the run has read before.

        `last`: no file follows.
        """
        held, self._source = b"", source
        for block in blocks:
            if not self._known:
                self._pass(block)
                self._mark(self._position - self._last_final >= SPACING)
                yield block
                continue
            held += block
            while self._known and self._known[0][0] <= self._position + len(held):
                length = self._known[0][0] - self._position
                yield self._verified(held[:length], source)
                held = held[length:]
            if held and not self._known:
                self._pass(held)
                self._mark(False)
                yield held
                held = b""
        if held:  # the next checkpoint is in the next file, or the file became shorter
            if last:
                self._refuse_short(source, held)
            self._pass(held)
            yield held
        if not self._known:
            self._mark(True)

    @property
    def is_through(self) -> bool:
        """Whether all known checkpoints are verified."""
        return not self._known

    def end(self) -> None:
        """Mark the end of the input. Raises InputError if it was longer before."""
        if self._known:
            self._refuse_short(self._source, b"")

    def _refuse_short(self, source: str, rest: bytes) -> NoReturn:
        if source == OBJECTS:
            raise InputError(
                f"{source}: they end after {self._rows + rest.count(_END):,} rows, and this run has read "
                f"more before. {_SAME_ROWS}"
            )
        raise InputError(
            f"{source}: the input ends after {self._position + len(rest):,} bytes; this run has read "
            f"{self._known[-1][0]:,} before. {_SAME_INPUT}"
        )

    def _verified(self, part: bytes, source: str) -> bytes:
        before, rows = self._position, self._rows
        self._pass(part)
        _, digest = self._known.popleft()
        if self.digest.digest() != digest:
            where = f"between byte {before:,} and {self._position:,}. {_SAME_INPUT}"
            if source == OBJECTS:
                where = f"between row {rows + 1:,} and row {max(self._rows, rows + 1):,}. {_SAME_ROWS}"
            raise InputError(
                f"{source}: the input is not the one that this run began with: it differs {where}"
            )
        self._last_final = self._position
        return part

    def _pass(self, block: bytes) -> None:
        self.digest.update(block)
        self._position += len(block)
        if self._source == OBJECTS:
            self._rows += block.count(_END)

    def _mark(self, final: bool) -> None:
        if not self._position:
            return
        self._on_checkpoint(self._position, self.digest.digest(), final)
        if final:
            self._last_final = self._position
