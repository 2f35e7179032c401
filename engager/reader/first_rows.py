"""The rows of an input up to a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engager.models import Row, Unreadable
from engager.reader.rows import Rows


class FirstRows(Iterator[Sequence[Row | Unreadable]]):
    """The chunks of an input up to and including a row, or all of them."""

    def __init__(self, rows: Rows, last_row: int | None) -> None:
        self.cut = False  #: there are rows after it
        self._chunks, self._flows, self._last = rows.chunks(), rows.is_stream, last_row
        self._over = False

    def __next__(self) -> Sequence[Row | Unreadable]:
        if self._over:
            raise StopIteration
        chunk = next(self._chunks)
        if self._last is None or not chunk or chunk[-1].number < self._last:
            return chunk
        wanted = chunk[: max(0, self._last + 1 - chunk[0].number)]
        self._over = True
        # Whether a pipe has more rows is not tested: the test could wait for a long time.
        self.cut = len(wanted) < len(chunk) or self._flows or any(self._chunks)
        if not wanted:
            raise StopIteration
        return wanted
