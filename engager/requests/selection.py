"""Rows in, what is left of them by the rules of the job out: repeats and listed keys are skipped.

Every row is looked at in the order of the input, also one that was settled long ago: it may have been the
first with its key. A run that was interrupted so decides as it would have without the interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engager.models import EngageRequest, Invalid, Row, Skipped, Unreadable
from engager.requests.exclusion import Exclusion
from engager.requests.key_forms import Fold
from engager.requests.keys import Keys

Built = EngageRequest | Invalid | Skipped | Unreadable

#: The word for rows whose key an earlier row has.
REPEAT = "repeat"


class Selection:
    """The rules of a run."""

    def __init__(self, unique: bool, excluded: Exclusion | None, fold: Fold) -> None:
        self._seen = Keys() if unique else None
        self.excluded, self._fold = excluded, fold
        self.observe: Callable[[EngageRequest], None] | None = None  #: told of every row that is not left out

    def of(
        self,
        chunks: Iterator[Sequence[Row | Unreadable]],
        build: Callable[[Row], EngageRequest | Invalid | Skipped],
    ) -> Iterator[Sequence[Built]]:
        """The rows of some chunks, built, those left out that a rule leaves out."""
        for chunk in chunks:
            yield [self.judge(build(row)) if isinstance(row, Row) else row for row in chunk]

    def judge(self, built: EngageRequest | Invalid | Skipped) -> EngageRequest | Invalid | Skipped:
        """The row as it was built, or why it is left out. What is no request is nobody's first row."""
        if not isinstance(built, EngageRequest):
            return built
        if self.excluded is not None and (source := self.excluded.source_of(built.key)) is not None:
            source.rows += 1
            return Skipped(built.row, built.key, source.error, source.error_text)
        if self._seen is not None:
            first = self._seen.first_row(self._fold(built.identity), built.row.number)
            if first is not None:
                return Skipped(built.row, built.key, REPEAT, f"row {first} has the same key")
        if self.observe is not None:
            self.observe(built)
        return built

    def close(self) -> None:
        """Give the memory of its keys back."""
        for keys in (self._seen, self.excluded):
            if keys is not None:
                keys.close()
