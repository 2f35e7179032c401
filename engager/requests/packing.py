"""Packs the requests of consecutive rows into batches: built rows in, batches out. Pure.

A batch is closed by its number of rows, its bytes, and a row that is settled or carried by another batch
already; never by time. Invariants: a batch carries all rows from its first to its last that are built to a
request; one that an earlier process left open is packed as it was, or it is not sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf

from engager.models import AttemptHistory, EngageRequest, Prepared, Withdrawn, number_of
from engager.requests.identity import RequestIds

#: Joins the items of rows. Returns what the request id is derived from, and the parts of the body.
Join = Callable[[Sequence[bytes]], tuple[bytes, tuple[bytes, ...]]]


@dataclass(frozen=True, slots=True)
class BatchForm:
    """How the requests of rows become one."""

    join: Join
    ids: RequestIds
    frame_bytes: int  #: of a body without items
    separator_bytes: int  #: of each item


class Packer:
    """Packs the rows of a run, in the order of the input."""

    def __init__(self, form: BatchForm, most_rows: int, most_bytes: int) -> None:
        """Make one whose batches have at most so many rows, and bytes in their bodies."""
        self._form, self._most_rows, self._most_bytes = form, most_rows, most_bytes
        self._members: list[EngageRequest] = []  #: of the batch that is being packed
        self._bytes = 0
        self.left_open = 0  #: rows of a batch that ends after the last row of this process
        self._reached = 0  #: the number of the last row so far
        self._withdrawn: set[int] = set()  #: the last rows of open batches that cannot be repeated

    def pack(self, works: Iterable[Prepared]) -> list[Prepared]:
        """Add the next rows; returns the batches that are complete, and what is no request, as it is.

        A request with `last` was in the open batch that ends with that row.
        """
        packed: list[Prepared] = []
        for work in works:
            before, self._reached = self._reached, number_of(work)
            if isinstance(work, EngageRequest):
                # Rows that are settled do not come.
                is_next = self._reached == before + 1 or work.last is not None
                if self._members and not (is_next and self._has_room(work)):
                    if (last := self._members[0].last) is not None and self._reached <= last:
                        self._withdrawn.add(last)  # another request carries one of its rows by now
                    packed += self.finish()
                self._members.append(work)
                self._bytes += self._size(work)
                continue
            if isinstance(work, Withdrawn):
                self._withdrawn.add(work.last)
            packed.append(work)
        if self._members and not self._has_room(None):
            packed += self.finish()
        return packed

    def finish(self) -> list[EngageRequest]:
        """The batches that are still being packed, at the end of the rows."""
        members, self._members, self._bytes = self._members, [], 0
        if not members:
            return []
        last = members[0].last
        if last is None:
            return [self.packed(members, _joined(members))]
        if last in self._withdrawn:
            return [self.packed([member], unrepeatable(member.history)) for member in members]
        if self._reached < last:
            self.left_open = len(members)
            return []
        return [self.packed(members, members[0].history)]

    def packed(self, members: Sequence[EngageRequest], history: AttemptHistory) -> EngageRequest:
        """The batch of some rows, with the history that they have in common."""
        first = members[0]
        content, body = self._form.join([member.body[0] for member in members])
        request_id = self._form.ids.for_row(first.row.number, content)
        return EngageRequest(
            first.row, first.key, request_id, body, history, last=members[-1].row.number, members=members
        )

    def lower_bytes(self, refused: int) -> None:
        """Pack smaller bodies from now on: one of so many bytes was too large."""
        self._most_bytes = min(self._most_bytes, refused // 2)

    def _has_room(self, work: EngageRequest | None) -> bool:
        """Whether the batch can take a row; None: any row."""
        open_until = self._members[0].last
        if open_until is not None:
            if work is None:
                return self._reached < open_until  # its last row may be skipped by now
            return work.last == open_until
        if len(self._members) >= self._most_rows:
            return False
        return work is None or (
            work.last is None
            and not work.history.in_doubt
            and not self._members[0].history.in_doubt
            and self._form.frame_bytes + self._bytes + self._size(work) <= self._most_bytes
        )

    def _size(self, request: EngageRequest) -> int:
        return len(request.body[0]) + self._form.separator_bytes


def unrepeatable(history: AttemptHistory) -> AttemptHistory:
    """The history of a row whose former batch cannot be sent again as it was.

    If that may have had an effect, no repeat under another id is safe.
    """
    return history._replace(first_left=-inf) if history.in_doubt else history


def _joined(members: Sequence[EngageRequest]) -> AttemptHistory:
    """The history of a new batch."""
    if len(members) == 1 and members[0].history.in_doubt:  # the journal lost which batch it was in
        return unrepeatable(members[0].history)
    # The same rows may have been sent under this version, in an earlier pass.
    left = [member.history.first_left for member in members if member.history.first_left is not None]
    version = max(member.history.request_id_version for member in members)
    return AttemptHistory(request_id_version=version, first_left=min(left, default=None))
