"""Skips rows by the rules of the job: repeats and excluded keys.

Invariant: a resumed run decides as it would have without the interruption. For this, every row is judged in
the order of the input, also a settled one: it may be the first row with its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engager.models import EngageRequest, Invalid, Row, Skipped, Unreadable
from engager.requests.exclusion import ExcludedSource, Exclusion
from engager.requests.key_forms import Fold, parts_of
from engager.requests.keys import Keys

Built = EngageRequest | Invalid | Skipped | Unreadable

#: The code of rows whose key an earlier row has.
REPEAT = "repeat"


class Selection:
    """The rules of a run by which rows are skipped."""

    def __init__(self, unique: bool, excluded: Exclusion | None, fold: Fold, listed: int = 1) -> None:
        """`listed`: how many parts of a key may be in a list, the first of them the key itself."""
        self._seen = Keys() if unique else None
        self.excluded, self._fold, self._listed = excluded, fold, listed
        self.observe: Callable[[EngageRequest], None] | None = None  #: called with each request to be sent

    def apply(
        self,
        chunks: Iterator[Sequence[Row | Unreadable]],
        build: Callable[[Row], EngageRequest | Invalid | Skipped],
    ) -> Iterator[Sequence[Built]]:
        """Builds the rows of chunks; a row that a rule skips becomes `Skipped`."""
        for chunk in chunks:
            yield [self.judge(build(row)) if isinstance(row, Row) else row for row in chunk]

    def judge(self, built: EngageRequest | Invalid | Skipped) -> EngageRequest | Invalid | Skipped:
        """Returns the request, or why its row is skipped. An invalid row is never the first with its key."""
        if not isinstance(built, EngageRequest):
            return built
        if (source := self._source_of(built)) is not None:
            source.rows += 1
            return Skipped(built.row, built.key, source.error, source.error_text)
        if self._seen is not None:
            first = self._seen.first_row(self._fold(built.identity), built.row.number)
            if first is not None:
                return Skipped(built.row, built.key, REPEAT, f"row {first} has the same key")
        if self.observe is not None:
            self.observe(built)
        return built

    def _source_of(self, built: EngageRequest) -> ExcludedSource | None:
        if self.excluded is None:
            return None
        parts = [built.key] if self._listed == 1 else parts_of(built.identity, self._listed)
        return next(filter(None, map(self.excluded.source_of, parts)), None)

    def close(self) -> None:
        """Free the memory of the keys."""
        for keys in (self._seen, self.excluded):
            if keys is not None:
                keys.close()
