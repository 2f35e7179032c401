"""Verifies that a resumed run reads the input that it began with, and records checkpoints of it.

Invariant: no row of a changed part is passed on. The cost is a digest of all that is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import NoReturn

from engager.errors import InputError

#: Bytes of the input between two final checkpoints.
SPACING = 1 << 16

#: A position in the input, the digest of all bytes before it, and whether the checkpoint is final.
OnCheckpoint = Callable[[int, bytes, bool], None]


class InputVerifier:
    """Verifies one reading of the input, over all its files."""

    def __init__(self, known: Iterable[tuple[int, bytes]] = ()) -> None:
        self._known = deque(sorted(known))
        self.digest = blake2b(digest_size=16)  #: of all bytes that were passed on
        self._position = 0
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
                self._refuse_short(source, len(held))
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
            self._refuse_short(self._source, 0)

    def _refuse_short(self, source: str, more: int) -> NoReturn:
        raise InputError(
            f"{source}: the input ends after {self._position + more:,} bytes; this run has read "
            f"{self._known[-1][0]:,} before. Give it the same input again, or name a new run with --out."
        )

    def _verified(self, part: bytes, source: str) -> bytes:
        before = self._position
        self._pass(part)
        _, digest = self._known.popleft()
        if self.digest.digest() != digest:
            raise InputError(
                f"{source}: the input is not the one that this run began with: it differs between byte "
                f"{before:,} and {self._position:,}. Give it the same input again, or name a new run with "
                "--out."
            )
        self._last_final = self._position
        return part

    def _pass(self, block: bytes) -> None:
        self.digest.update(block)
        self._position += len(block)

    def _mark(self, final: bool) -> None:
        if not self._position:
            return
        self._on_checkpoint(self._position, self.digest.digest(), final)
        if final:
            self._last_final = self._position
