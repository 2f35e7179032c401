"""What a ledger knows of open rows after a kill: a new one on the same file is the next process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from engager.ledger.journal import Entry, Mark, Mend
from engager.ledger.ledger import Ledger
from engager.ledger.row_states import RowStates
from engager.ledger.slots import HORIZON, SIZE, SLOTS, Slots
from engager.ledger.states import State
from engager.model import Life
from engager.store import clock

BEGUN = 10.0


class Machine:
    """A machine with clocks of its own, and the file of a ledger."""

    def __init__(self, path: Path) -> None:
        self.now, self.boot = 100.0, 7
        self._path = path
        self._opened: list[Ledger] = []
        self._mark = Mark()
        self.recovered: list[Entry] = []  #: what the last process found in its journal
        Ledger.make(path, 1, 1 << 10)

    def process(self, same_token: bool = True) -> Ledger:
        """One more process: whatever the one before it did not do, it never does."""
        self.end()
        ledger = Ledger(self._path)
        self._opened.append(ledger)
        ledger.rows.reach(2000)
        self.recovered = ledger.recover(self._mark, 0.0, same_token, BEGUN)
        self._mark = ledger.journal.mark
        return ledger

    def kill(self, ledger: Ledger) -> None:
        """What is not stored is gone."""
        ledger._engaged.clear()

    def reboot(self) -> None:
        """The boot clock begins anew, and the wall's goes on."""
        self.boot, self.now = self.boot + 1, 5.0

    def end(self) -> None:
        while self._opened:
            self._opened.pop().close()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path / "rows")
    monkeypatch.setattr(clock, "seconds", lambda: machine.now)
    monkeypatch.setattr(clock, "boot_id", lambda: machine.boot)
    yield machine
    machine.end()


def leave(machine: Machine, ledger: Ledger, row: int, life: Life | None = None) -> Life:
    life = life or Life()
    life.leaves(machine.now)
    ledger.leaves(row, life)
    ledger.keep()
    return life


def engaged(row: int, text: str = "") -> Entry:
    line = orjson.dumps({"row": row, "text": text}) + b"\n"
    return Entry(row, State.ENGAGED, line, Mend.NONE, b"")


def tick(ledger: Ledger) -> None:
    """What a recorder does twice a second."""
    ledger.give_slots()
    ledger.move_horizon()


def told(life: Life) -> tuple[int, int, float | None, bool]:
    return life.attempts, life.generation, life.first_left, life.in_doubt


def test_a_first_try_costs_no_slot(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = machine.process()
    monkeypatch.setattr(Slots, "write", None)
    leave(machine, ledger, 3)
    ledger.settle(engaged(3))
    ledger.keep()
    assert ledger.rows.of(3) is State.ENGAGED


def test_a_row_in_its_first_try_left_after_the_horizon(machine: Machine) -> None:
    ledger = machine.process()
    for machine.now in (130.0, 130.5):
        tick(ledger)
    machine.now = 130.9
    leave(machine, ledger, 3)
    machine.now = 500.0
    # Earlier than it was is safe: the endpoint is trusted to remember it for less long.
    assert told(machine.process().open_rows[3]) == (1, 0, 130.0, True)


def test_a_row_that_is_under_way_when_the_horizon_moves_keeps_its_moment(machine: Machine) -> None:
    ledger = machine.process()
    leave(machine, ledger, 3)
    machine.now = 130.0
    tick(ledger)
    machine.now = 160.0
    tick(ledger)
    assert told(machine.process().open_rows[3]) == (1, 0, 100.0, True)


def test_the_moment_outlives_any_number_of_kills(machine: Machine) -> None:
    leave(machine, machine.process(), 3)
    for _ in range(3):
        machine.now += 50
        ledger = machine.process()
    assert told(ledger.open_rows[3]) == (1, 0, 100.0, True)


def test_a_try_that_ended_without_settling_its_row_is_not_under_way(machine: Machine) -> None:
    ledger = machine.process()
    life = leave(machine, ledger, 3)
    life.attempts += 1
    ledger.answered(3, life)
    assert told(machine.process().open_rows[3]) == (1, 0, 100.0, False)


def test_a_further_try_is_known_at_once(machine: Machine) -> None:
    ledger = machine.process()
    life = leave(machine, ledger, 3)
    life.attempts += 1
    ledger.answered(3, life)
    machine.now = 140.0
    leave(machine, ledger, 3, life)
    assert told(machine.process().open_rows[3]) == (2, 0, 100.0, True)


def test_a_row_that_was_held_back_and_leaves_in_the_next_process_is_in_doubt(machine: Machine) -> None:
    ledger = machine.process()
    ledger.answered(3, leave(machine, ledger, 3))  # cleared, and then nothing left
    ledger = machine.process()
    life = ledger.open_rows.pop(3)
    assert told(life) == (0, 0, 100.0, False)
    leave(machine, ledger, 3, life)
    assert told(machine.process().open_rows[3]) == (1, 0, 100.0, True)


def test_a_settled_row_is_not_open(machine: Machine) -> None:
    ledger = machine.process()
    for row in (3, 4):
        leave(machine, ledger, row)
    ledger.settle(engaged(3))
    tick(ledger)
    ledger.settle(engaged(4))
    assert machine.process().open_rows == {}


def test_a_burst_is_read_back_row_by_row(machine: Machine) -> None:
    ledger = machine.process()
    begun, rows = ledger.journal.mark.number, [*range(1, 40), *range(70, 190)]
    for row in rows:
        leave(machine, ledger, row)
    for row in rows:
        ledger.settle(engaged(row))
    ledger.keep()
    assert ledger.journal.mark.number - begun < 9
    machine.kill(ledger)
    machine.process()
    assert machine.recovered == [engaged(row) for row in rows]


def test_what_was_said_and_not_kept_is_lost_and_does_no_harm(machine: Machine) -> None:
    ledger = machine.process()
    leave(machine, ledger, 3)
    ledger.settle(engaged(3))
    ledger.leaves(4, Life(first_left=machine.now))
    machine.kill(ledger)
    ledger = machine.process()
    assert {*ledger.open_rows} == {3}
    assert [ledger.rows.of(4), machine.recovered] == [State.UNTOUCHED, []]


def test_who_ends_in_order_loses_no_outcome_and_leaves_nobody_in_doubt(machine: Machine) -> None:
    ledger = machine.process()
    leave(machine, ledger, 3)
    ledger.settle(engaged(3))
    ledger.leaves(4, Life(first_left=machine.now))
    ledger = machine.process()
    assert (machine.recovered, ledger.open_rows) == ([engaged(3)], {})


def test_a_row_may_be_settled_before_it_was_kept_that_it_leaves(machine: Machine) -> None:
    ledger = machine.process()
    ledger.leaves(3, Life(first_left=machine.now))
    ledger.settle(engaged(3))
    ledger.keep()
    tick(ledger)
    assert ledger.rows.of(3) is State.ENGAGED
    assert ledger.slots.rows.keys() <= {HORIZON}
    assert machine.process().open_rows == {}


def test_what_fills_the_journal_in_bursts_is_read_back(machine: Machine) -> None:
    ledger, settled = machine.process(), list[Entry]()
    for row in range(1, 2000):
        entry = engaged(row, text="x" * 900)
        leave(machine, ledger, row)
        if not ledger.settle(entry):
            break
        settled.append(entry)
    assert len(settled) > 1000
    machine.process()
    assert machine.recovered == settled


def test_a_row_that_the_journal_has_no_room_for_is_under_way_all_the_same(machine: Machine) -> None:
    ledger = machine.process()
    long = Entry(3, State.ENGAGED, b"x" * ledger.journal.largest, Mend.NONE, b"")
    for row in (1, 2, 3):
        leave(machine, ledger, row)
        settled = ledger.settle(replace(long, row=row))
    assert not settled
    machine.now = 130.0
    tick(ledger)
    machine.now = 160.0
    tick(ledger)
    assert told(machine.process().open_rows[3]) == (1, 0, 100.0, True)


@pytest.mark.parametrize("further", [False, True])
def test_never_are_more_rows_open_than_are_under_way(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, further: bool
) -> None:
    """Whenever a kill comes: between any two stores there are as many at most as the crew has."""
    crew, most, ledger = 8, 0, machine.process()
    store, store_all, write = RowStates.store, RowStates.store_all, Slots.write

    def counted(original: Callable[..., None]) -> Callable[..., None]:
        def storing(*args: object, **named: object) -> None:
            nonlocal most
            original(*args, **named)
            most = max(most, sum(ledger.rows.count()[state] for state in (State.OPEN, State.SLOTTED)))

        return storing

    monkeypatch.setattr(RowStates, "store", counted(store))
    monkeypatch.setattr(RowStates, "store_all", counted(store_all))
    monkeypatch.setattr(Slots, "write", counted(write))
    for row in range(1, 150):
        if row > crew:
            ledger.settle(engaged(row - crew))  # and who had it takes up the next one
        further_try = further and row % 5 == 0
        ledger.leaves(row, Life(generation=1 << 16, first_left=1.0) if further_try else Life(first_left=1.0))
        if row % crew == 0:
            ledger.keep()
    assert most <= crew


def test_the_horizon_outlives_a_power_cut(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = 1_000.0
    monkeypatch.setattr(time, "time", lambda: wall)
    ledger = machine.process()
    leave(machine, ledger, 3)
    machine.reboot()
    wall += 60
    assert machine.process().open_rows[3].first_left == machine.now - 60


def _damage_all_slots(ledger: Ledger) -> None:
    memory, copy = ledger.slots._memory, SIZE // 2
    row = ledger.slots._offset + ledger.slots.rows[3] * (copy // SLOTS) + 8
    for at in (row, row + copy):
        memory[at] ^= 0xFF


def test_of_a_slot_that_is_damaged_nobody_says_when_its_row_left(machine: Machine) -> None:
    ledger = machine.process()
    leave(machine, ledger, 3)
    tick(ledger)
    _damage_all_slots(ledger)
    ledger = machine.process()
    assert 3 not in ledger.open_rows
    assert ledger.rows.of(3) is State.SLOTTED


def test_another_token_makes_no_row_in_its_first_try_repeatable(machine: Machine) -> None:
    leave(machine, machine.process(), 3)
    machine.process(same_token=False)
    assert told(machine.process().open_rows[3]) == (1, 0, float("-inf"), True)


def test_a_power_cut_that_leaves_any_number_of_rows_open_stops_no_run(machine: Machine) -> None:
    ledger = machine.process()
    for row in range(1, 3 * SLOTS):
        ledger.rows.store(row, State.OPEN)
    for _ in range(2):
        ledger = machine.process()
        assert 0 < len(ledger.open_rows) <= SLOTS // 2
        assert ledger.rows.of(2 * SLOTS) is State.SLOTTED


def test_a_slot_of_a_row_that_is_not_open_does_not_come_back(machine: Machine) -> None:
    ledger = machine.process()
    life = leave(machine, ledger, 3)
    life.attempts += 1
    ledger.answered(3, life)
    ledger.rows.store(3, State.UNTOUCHED)  # the disk kept the slot and not the byte
    ledger = machine.process()
    leave(machine, ledger, 3)
    assert told(machine.process().open_rows[3]) == (1, 0, 100.0, True)


def test_a_row_that_was_held_back_at_once_is_not_under_way(machine: Machine) -> None:
    ledger = machine.process()
    life = Life(first_left=machine.now)
    ledger.leaves(3, life)
    ledger.answered(3, life)
    assert told(machine.process().open_rows[3]) == (0, 0, 100.0, False)


def test_a_renewed_id_is_not_taken_for_a_first_one(machine: Machine) -> None:
    ledger = machine.process()
    life = leave(machine, ledger, 3)
    life.renew()
    ledger.answered(3, life)
    _damage_all_slots(ledger)
    assert 3 not in machine.process().open_rows
