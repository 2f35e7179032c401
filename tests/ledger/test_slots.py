"""The open rows after a kill: the newest copy that is whole counts."""

from __future__ import annotations

import mmap

import pytest

from engager.errors import RecordingError
from engager.ledger.slots import SIZE, SLOTS, OpenRow, Slots
from engager.model import Life
from engager.store.clock import Moment

THEN = Moment(1000.0, 50.0, 7)


def test_what_was_said_last_is_recovered() -> None:
    memory = mmap.mmap(-1, SIZE)
    slots = Slots(memory, 0, THEN.boot_id)
    slots.write(5, Life(), THEN.boot, THEN.wall, in_flight=True)
    slots.write(9, Life(), THEN.boot, THEN.wall, in_flight=True)
    slots.write(5, Life(attempts=1, generation=2, in_doubt=True), THEN.boot, THEN.wall, in_flight=False)
    found = {row.row: row for row in Slots(memory, 0, THEN.boot_id).recover()}
    assert found == {
        5: OpenRow(5, 1, 2, THEN, in_flight=False, in_doubt=True),
        9: OpenRow(9, 0, 0, THEN, in_flight=True, in_doubt=False),
    }


def test_a_torn_copy_leaves_the_one_before_it() -> None:
    memory = mmap.mmap(-1, SIZE)
    slots = Slots(memory, 0, THEN.boot_id)
    slots.write(5, Life(), THEN.boot, THEN.wall, in_flight=True)
    before = memory[:]
    slots.write(5, Life(attempts=1), THEN.boot, THEN.wall, in_flight=False)
    begin = next(i for i in range(SIZE) if memory[i] != before[i])
    memory[begin + 9] ^= 0xFF
    (found,) = Slots(memory, 0, THEN.boot_id).recover()
    assert (found.attempts, found.in_flight) == (0, True)


def test_a_slot_is_used_again_and_recovered_ones_are_kept() -> None:
    memory = mmap.mmap(-1, SIZE)
    slots = Slots(memory, 0, THEN.boot_id)
    slots.write(1, Life(), THEN.boot, THEN.wall, in_flight=True)
    slots.free(1)
    slots.write(2, Life(), THEN.boot, THEN.wall, in_flight=True)
    again = Slots(memory, 0, THEN.boot_id)
    assert [row.row for row in again.recover()] == [2]
    again.write(3, Life(), THEN.boot, THEN.wall, in_flight=True)
    assert {row.row for row in Slots(memory, 0, THEN.boot_id).recover()} == {2, 3}


def test_more_rows_under_way_than_there_are_slots_are_refused() -> None:
    slots = Slots(mmap.mmap(-1, SIZE), 0, THEN.boot_id)
    for row in range(SLOTS):
        slots.write(row, Life(), THEN.boot, THEN.wall, in_flight=True)
    with pytest.raises(RecordingError, match=r"limits\.concurrency"):
        slots.write(SLOTS, Life(), THEN.boot, THEN.wall, in_flight=True)
    slots.free(7)
    slots.write(SLOTS, Life(), THEN.boot, THEN.wall, in_flight=True)


def test_a_copy_is_stored_again_where_nothing_newer_stands() -> None:
    memory, disk = mmap.mmap(-1, SIZE), mmap.mmap(-1, SIZE)
    slots = Slots(memory, 0, THEN.boot_id)
    told = []
    for attempts in range(4):
        slots.write(5, Life(attempts), THEN.boot, THEN.wall, in_flight=True)
        told.append(slots.written())
    assert [len(copies) for copies in told] == [1] * 4
    for copies in (told[2], told[3], told[0], told[1]):
        for at, copy in copies:
            assert Slots(disk, 0, THEN.boot_id).redo(at, copy) == 5
    assert disk[:] == memory[:]


def test_a_copy_that_is_not_whole_is_not_stored_again() -> None:
    slots = Slots(mmap.mmap(-1, SIZE), 0, THEN.boot_id)
    slots.write(5, Life(), THEN.boot, THEN.wall, in_flight=True)
    ((at, copy),) = slots.written()
    disk = mmap.mmap(-1, SIZE)
    assert Slots(disk, 0, THEN.boot_id).redo(at, bytes([copy[0] ^ 1]) + copy[1:]) is None
    assert not any(disk[:])
