"""Frames: each is read as it was written, or as damaged."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engager.models import AttemptHistory
from engager.store.frames import (
    Context,
    OpenRequest,
    Settlement,
    engaged,
    first_attempts,
    framed,
    opened,
    parse_engaged,
    parse_first_attempts,
    parse_frames,
    parse_opened,
    parse_settled,
    settled,
    split_records,
)

CONTEXT = Context(1.5, 2.5, 7, 8, 9)
SEED = 4711


def journal(*payloads: bytes) -> bytes:
    frames = [framed(number, CONTEXT, [data], SEED) for number, data in enumerate(payloads, 1)]
    return b"".join(frames)


def whole_frames(data: bytes) -> dict[int, bytes]:
    return {f.number: bytes(f.records) for f in parse_frames(data, SEED) if f.records is not None}


def test_records_are_read_as_they_were_written() -> None:
    one = Settlement(3, 0x25, 1.25, 1, b'{"row":3}\n', b"a,b\n")
    request = OpenRequest(4, 9, AttemptHistory(2, 1, 0.5, False, True), True)
    data = memoryview(
        b"".join(
            [engaged([1, 2], [b"x\n", b"y\n"]), settled(one), opened([request]), first_attempts([7], 3.5)]
        )
    )
    bodies = [body for _, body in split_records(data)]
    assert parse_engaged(bodies[0]) == ([1, 2], b"x\ny\n")
    assert parse_settled(bodies[1]) == one
    assert list(parse_opened(bodies[2])) == [request]
    assert parse_first_attempts(bodies[3]) == (3.5, [7])


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.data())
def test_a_flipped_bit_damages_one_frame_and_is_detected(payloads: list[bytes], data: st.DataObject) -> None:
    written = bytearray(journal(*payloads))
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] ^= 1 << data.draw(st.integers(0, 7))
    found = list(parse_frames(bytes(written), SEED))
    # Its number is known nevertheless: from its head or from its tail.
    assert [frame.number for frame in found] == list(range(1, len(payloads) + 1))
    assert all(frame.context == CONTEXT for frame in found)
    truth = dict(enumerate(payloads, 1))
    read = whole_frames(bytes(written))
    assert len(read) >= len(payloads) - 1
    assert read.items() <= truth.items()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.data())
def test_a_torn_frame_is_not_read(payloads: list[bytes], data: st.DataObject) -> None:
    before, last = journal(*payloads[:-1]), journal(*payloads)
    torn = last[: data.draw(st.integers(len(before), len(last) - 1))]
    read = whole_frames(torn)
    truth = dict(enumerate(payloads, 1))
    assert read.items() <= truth.items()
    assert set(read) >= set(range(1, len(payloads)))


def test_a_frame_within_a_row_is_not_read_as_one() -> None:
    inner = framed(9, CONTEXT, [b"x"], SEED + 1)
    assert whole_frames(journal(inner)) == {1: inner}
    damaged = bytearray(journal(inner))
    damaged[30] ^= 1
    assert whole_frames(bytes(damaged)) == {}
