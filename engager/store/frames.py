"""Frames of the journal. Invariant: a frame is what one write stores, whole or not at all.

    head (magic, checksum, length, number) | context | records | tail (magic, checksum, number, context)

The frames of a journal are numbered without gaps. A complete tail proves that the frame was written to its
end: a frame that a kill tore has none. So a damaged frame with its tail was damaged later, and the requests
in it have left.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import inf
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from engager.models import AttemptHistory

_HEAD: Final = Struct("<4sIIQ")
_TAIL: Final = Struct("<4sIQ")
_CONTEXT: Final = Struct("<ddQQQ")
_NUMBER: Final = Struct("<IQ")
_FRAME: Final = b"\xf5EF\xff"
_SNAPSHOT: Final = b"\xf5ES\xff"
_ENDED: Final = b"\xf5EE\xff"
_RECORD: Final = Struct("<BI")
_ENGAGED: Final = Struct("<II")
_SETTLED: Final = Struct("<QBdBII")
_OPEN: Final = Struct("<QQIIdB")
_FIRST: Final = Struct("<d")
_LENGTH: Final = Struct("<I")
_CHECKPOINT: Final = Struct("<Q16sB")

_IN_FLIGHT: Final = 1
_IN_DOUBT: Final = 2
_FORCED: Final = 4
_CAME_BACK: Final = 8


class Context(NamedTuple):
    """The facts of each frame besides its records."""

    wall: float  #: seconds since the epoch
    boot: float  #: seconds on the boot clock
    boot_id: int
    token: int  #: identifies the token, which cannot be derived from it
    last_row: int  #: the largest row of which an attempt has left, in this pass


class Kind(IntEnum):
    """The kinds of records."""

    ENGAGED = 1
    SETTLED = 2
    OPEN = 3
    FIRST = 4
    COMMIT = 5
    CHECKPOINT = 6
    ROWS = 7
    TALLY = 8


class Settlement(NamedTuple):
    """A row with its outcome."""

    row: int
    code: int  #: its state
    first_left: float  #: when its first attempt under that id left, on the boot clock
    reject: int  #: the rejected-rows or in-doubt file of the row
    line: bytes  #: its fields of results, as a line of JSON; empty where the file has it
    rejected: bytes  #: its line in the file of `reject`


@dataclass(slots=True)
class OpenRequest:
    """A request of which an attempt has left, and which carries rows without an outcome."""

    first: int  #: its first row
    last: int
    history: AttemptHistory
    in_flight: bool
    came_back: bool = False  #: it was about to leave, and has not left after all


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame that was read."""

    number: int
    context: Context
    records: memoryview | None  #: None: they are damaged
    is_snapshot: bool = False
    end: int = 0  #: the position of the next one


def framed(
    number: int, context: Context, records: Sequence[bytes], seed: int, snapshot: bool = False
) -> bytes:
    """The bytes of a frame."""
    facts = _CONTEXT.pack(*context)
    data = b"".join((facts, *records))
    check = crc32(data, crc32(_NUMBER.pack(len(data), number), seed))
    head = _HEAD.pack(_SNAPSHOT if snapshot else _FRAME, check, len(data), number)
    tail = _TAIL.pack(_ENDED, crc32(facts, crc32(_NUMBER.pack(0, number), seed)), number)
    return b"".join((head, data, tail, facts))


def parse_frames(data: bytes, seed: int) -> Iterator[Frame]:
    """Yields each complete frame of a file; of a damaged one, the facts in its tail."""
    view, at = memoryview(data), 0
    while (at := _next_magic(data, at)) >= 0:
        found = _frame_at(view, at, seed) or _tail_at(view, at, seed)
        if found is not None:
            yield found
        at = at + 1 if found is None else found.end


def _next_magic(data: bytes, at: int) -> int:
    while (at := data.find(b"\xf5E", at)) >= 0 and data[at + 2 : at + 4] not in (
        b"F\xff",
        b"S\xff",
        b"E\xff",
    ):
        at += 1
    return at


def _frame_at(view: memoryview, at: int, seed: int) -> Frame | None:
    if at + _HEAD.size > len(view):
        return None
    magic, check, length, number = _HEAD.unpack_from(view, at)
    begin, end = at + _HEAD.size, at + _HEAD.size + length
    if magic == _ENDED or length < _CONTEXT.size or end > len(view):
        return None
    if crc32(view[begin:end], crc32(_NUMBER.pack(length, number), seed)) != check:
        return None
    context = Context(*_CONTEXT.unpack_from(view, begin))
    return Frame(
        number,
        context,
        view[begin + _CONTEXT.size : end],
        magic == _SNAPSHOT,
        end + _TAIL.size + _CONTEXT.size,
    )


def _tail_at(view: memoryview, at: int, seed: int) -> Frame | None:
    end = at + _TAIL.size + _CONTEXT.size
    if end > len(view):
        return None
    magic, check, number = _TAIL.unpack_from(view, at)
    facts = view[at + _TAIL.size : end]
    if magic != _ENDED or crc32(facts, crc32(_NUMBER.pack(0, number), seed)) != check:
        return None
    return Frame(number, Context(*_CONTEXT.unpack(facts)), None, end=end)


def _record(kind: int, *parts: bytes) -> bytes:
    return b"".join((_RECORD.pack(kind, sum(map(len, parts))), *parts))


def engaged(rows: list[int], lines: Sequence[bytes]) -> bytes:
    """A record of rows that were engaged, each with its line of results."""
    joined = b"".join(lines)
    return _record(1, _ENGAGED.pack(len(rows), len(joined)), array("Q", rows).tobytes(), joined)


def parse_engaged(body: memoryview) -> tuple[list[int], bytes]:
    """The rows of such a record, and their lines as one text."""
    count, length = _ENGAGED.unpack_from(body)
    rows = array("Q")
    rows.frombytes(body[_ENGAGED.size : _ENGAGED.size + 8 * count])
    return rows.tolist(), bytes(body[len(body) - length :])


def settled(one: Settlement) -> bytes:
    """A record of one row with any outcome."""
    row, code, first_left, reject, line, rejected = one
    facts = _SETTLED.pack(row, code, first_left, reject, len(line), len(rejected))
    return _record(2, facts, line, rejected)


def parse_settled(body: memoryview) -> Settlement:
    """The row of such a record."""
    row, code, first_left, reject, line, _ = _SETTLED.unpack_from(body)
    middle = _SETTLED.size + line
    lines = bytes(body[_SETTLED.size : middle]), bytes(body[middle:])
    return Settlement(row, code, first_left, reject, *lines)


def opened(requests: Iterable[OpenRequest]) -> bytes:
    """A record of requests that are open."""
    return _record(3, *[_packed(one) for one in requests])


def _packed(one: OpenRequest) -> bytes:
    known = one.history
    left = inf if known.first_left is None else known.first_left
    flags = one.in_flight * _IN_FLIGHT | known.in_doubt * _IN_DOUBT | known.forced * _FORCED
    flags |= one.came_back * _CAME_BACK
    return _OPEN.pack(one.first, one.last, known.attempts, known.request_id_version, left, flags)


def parse_opened(body: memoryview) -> Iterator[OpenRequest]:
    """The requests of such a record."""
    for first, last, attempts, version, left, flags in _OPEN.iter_unpack(body):
        in_doubt, forced = bool(flags & _IN_DOUBT), bool(flags & _FORCED)
        history = AttemptHistory(attempts, version, None if left == inf else left, in_doubt, forced)
        yield OpenRequest(first, last, history, bool(flags & _IN_FLIGHT), bool(flags & _CAME_BACK))


def first_attempts(rows: list[int], moment: float) -> bytes:
    """A record of rows whose first attempt leaves, each as a request of its own."""
    return _record(4, _FIRST.pack(moment), array("Q", rows).tobytes())


def parse_first_attempts(body: memoryview) -> tuple[float, list[int]]:
    """A moment that is not later than the first of them left, and the rows."""
    rows = array("Q")
    rows.frombytes(body[_FIRST.size :])
    return _FIRST.unpack_from(body)[0], rows.tolist()


def commit(facts: bytes) -> bytes:
    """A record of the positions of the result files."""
    return _record(5, facts)


def checkpoint(position: int, digest: bytes, final: bool) -> bytes:
    """A record of a checkpoint of the input."""
    return _record(6, _CHECKPOINT.pack(position, digest, final))


def parse_checkpoint(body: memoryview) -> tuple[int, bytes, bool]:
    """The position, the digest, and whether the checkpoint is final."""
    position, digest, final = _CHECKPOINT.unpack(body)
    return position, digest, bool(final)


def rows(facts: bytes, blocks: bytes) -> bytes:
    """A record of the states of all rows, and of the facts of the run."""
    return _record(7, _LENGTH.pack(len(facts)), facts, blocks)


def parse_rows(body: memoryview) -> tuple[bytes, bytes]:
    """The facts and the blocks of such a record."""
    (length,) = _LENGTH.unpack_from(body)
    return bytes(body[_LENGTH.size : _LENGTH.size + length]), bytes(body[_LENGTH.size + length :])


def tally(facts: bytes) -> bytes:
    """A record of the statistics."""
    return _record(8, facts)


def split_records(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The records of a frame: their kinds and bodies."""
    at = 0
    while at < len(data):
        kind, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        yield kind, data[at : at + length]
        at += length
