"""All ledgers of a run as one: a row in, the shard that remembers it out."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engager.ledger.ledger import Ledger
from engager.ledger.states import State


def shard_path(folder: Path, shard: int) -> Path:
    """Where the ledger of a shard is."""
    return folder / (f"rows.{shard}" if shard else "rows")


class Ledgers:
    """Open ledgers, in the order of their rows."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = ledgers
        self._firsts = [ledger.rows.first for ledger in ledgers]

    def __iter__(self) -> Iterator[Ledger]:
        return iter(self._ledgers)

    def of(self, row: int) -> Ledger:
        """The one that remembers a row."""
        return self._ledgers[max(0, bisect(self._firsts, row) - 1)]

    def state(self, row: int) -> State:
        """What is known of a row."""
        return self.of(row).rows.of(row)

    def set_state(self, row: int, state: State) -> None:
        """Change what is known of a row."""
        self.of(row).rows.store(row, state)

    def count(self) -> Counter[State]:
        """How many rows are in which state; untouched ones are not counted."""
        return sum((ledger.rows.count() for ledger in self._ledgers), Counter())

    @property
    def end(self) -> int:
        """Behind the last row that there is room for."""
        return max(ledger.rows.end for ledger in self._ledgers)


@contextmanager
def opened(folder: Path, shards: int, writable: bool = True) -> Iterator[Ledgers]:
    """The ledgers of a run's folder. Raises RunDirectoryError."""
    ledgers: list[Ledger] = []
    try:
        for shard in range(shards):
            ledgers.append(Ledger(shard_path(folder, shard), writable))
        yield Ledgers(ledgers)
    finally:
        for ledger in ledgers:
            ledger.close()
