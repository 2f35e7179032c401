"""The ring of outcomes: what was appended is read back, up to the first record that is not whole."""

from __future__ import annotations

import mmap

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.ledger.journal import Entry, Journal, Mark, Mend
from engager.ledger.states import State

SIZE = 2000


def entry(row: int, length: int) -> Entry:
    to_mend = bytes([row % 251]) * (length // 3)
    return Entry(row, State.FAILED, bytes([row % 256]) * length, Mend.FAILED, to_mend)


def engaged(row: int, length: int) -> Entry:
    line = orjson.dumps({"row": row, "key": "\r" * length}) + b"\n"
    return Entry(row, State.ENGAGED, line, Mend.NONE, b"")


def journal(memory: mmap.mmap) -> Journal:
    return Journal(memory, 0, SIZE)


@pytest.mark.parametrize("hot", [SIZE, SIZE // 4])
@given(steps=st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=60))
def test_what_was_not_released_is_read_back(hot: int, steps: list[tuple[int, bool]]) -> None:
    memory = mmap.mmap(-1, SIZE)
    ring, pending, tail = journal(memory), [], Mark()
    ring._hot = hot
    ring.release(tail)
    for row, (length, release) in enumerate(steps, 1):
        if ring.append(entry(row, length)):
            pending.append(entry(row, length))
        else:
            release = True
        if release:
            tail = ring.mark
            ring.release(tail)
            pending.clear()
    again = journal(memory)
    assert list(again.recover(tail)) == pending
    assert again.mark.at == ring.mark.at
    further, begun = [], again.mark  # and it goes on behind what was read back, without touching it
    for row in range(1, 200):
        if not again.append(entry(row, 50)):
            break
        further.append(entry(row, 50))
    assert list(journal(memory).recover(tail)) == pending
    assert list(journal(memory).recover(begun)) == further


@pytest.mark.parametrize("hot", [SIZE, SIZE // 4])
@given(steps=st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=60))
def test_stretches_that_are_stored_again_make_the_same_ring(hot: int, steps: list[tuple[int, bool]]) -> None:
    ring, disk = journal(mmap.mmap(-1, SIZE)), mmap.mmap(-1, SIZE)
    ring._hot = hot
    tail = synced = Mark()
    ring.release(tail)
    pending: list[Entry] = []
    for row, (length, release) in enumerate(steps, 1):
        if ring.append(entry(row, length)):
            pending.append(entry(row, length))
        else:
            release = True
        if release or row % 5 == 0:
            for at, stretch in ring.since(synced):
                settled = list(journal(disk).redo(at, stretch, tail))
                assert settled
                assert {state for _, state in settled} == {State.FAILED}
            synced = ring.mark
        if release:
            tail = ring.mark
            ring.release(tail)
            pending.clear()
    for at, stretch in ring.since(synced):
        list(journal(disk).redo(at, stretch, tail))
    assert list(journal(disk).recover(tail)) == pending


def test_a_record_that_is_in_its_files_is_not_stored_again() -> None:
    ring, disk = journal(mmap.mmap(-1, SIZE)), mmap.mmap(-1, SIZE)
    ring.append(entry(1, 10))
    ((at, stretch),) = ring.since(Mark())
    assert list(journal(disk).redo(at, stretch, ring.mark)) == [(1, State.FAILED)]
    assert not any(disk[:])


@given(st.integers(0, 900), st.integers(0, 7))
def test_a_spoiled_record_ends_what_is_read_back(place: int, bit: int) -> None:
    memory = mmap.mmap(-1, SIZE)
    ring = journal(memory)
    entries = [entry(row, 100) for row in range(1, 7)]
    for one in entries:
        ring.append(one)
    memory[place] ^= 1 << bit
    recovered = list(journal(memory).recover(Mark()))
    assert recovered == entries[: len(recovered)]
    assert len(recovered) == place // 167


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 60), st.booleans()), max_size=40))
def test_rows_that_were_engaged_together_are_read_back_one_by_one(steps: list[tuple[int, int, bool]]) -> None:
    memory, disk = mmap.mmap(-1, SIZE), mmap.mmap(-1, SIZE)
    ring, pending, tail = journal(memory), list[Entry](), Mark()
    for first, (count, length, release) in enumerate(steps):
        entries = [engaged(10 * first + n, length) for n in range(1, count + 1)]
        lines = [one.result for one in entries]
        has_room = ring.has_room(sum(map(len, lines)))
        assert ring.append_engaged(lines) is has_room
        pending += entries if has_room else []
        if release or not has_room:
            tail = ring.mark
            ring.release(tail)
            pending.clear()
    settled = [row for at, stretch in ring.since(tail) for row in journal(disk).redo(at, stretch, tail)]
    assert settled == [(one.row, one.state) for one in pending]
    for ledger in (memory, disk):
        assert list(journal(ledger).recover(tail)) == pending


def test_nothing_that_is_pending_is_written_over() -> None:
    ring = journal(mmap.mmap(-1, SIZE))
    assert 4 < sum(ring.append(entry(row, 200)) for row in range(1, 100)) < 10
