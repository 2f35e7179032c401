"""A byte for every row: what was stored of some is told of these, and of no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.ledger.mapped import MappedFile
from engager.ledger.row_states import PART, RowStates
from engager.ledger.states import State

FIRST = 7
#: Where one mapped part ends and the next one begins.
EDGE = FIRST + PART
STATES = st.sampled_from([State.OPEN, State.ENGAGED, State.SLOTTED, State.FAILED])
BEGINNINGS = st.integers(EDGE - 20, EDGE + 20)
RUNS = st.builds(lambda first, count: [*range(first, first + count)], BEGINNINGS, st.integers(1, 30))
SCATTERED = st.lists(st.integers(EDGE - 20, EDGE + 49), min_size=1, unique=True)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RowStates]:
    file = MappedFile(tmp_path_factory.mktemp("ledger") / "rows")
    rows = RowStates(file, 0, FIRST)
    rows.reach(EDGE + 50)
    yield rows
    rows.close()
    file.close()


@given(steps=st.lists(st.tuples(RUNS | SCATTERED, STATES), min_size=1, max_size=9))
def test_what_is_stored_of_some_rows_is_told_of_them_alone(
    rows: RowStates, steps: list[tuple[list[int], State]]
) -> None:
    window = range(EDGE - 25, EDGE + 55)
    rows.store_all([*window], State.UNTOUCHED)
    known = dict.fromkeys(window, State.UNTOUCHED)
    for some, state in steps:
        rows.store_all(some, state)
        known.update(dict.fromkeys(some, state))
    assert [State(byte) for byte in rows.read(window.start, len(window))] == [*known.values()]
    assert [rows.of(row) for row in window] == [*known.values()]
    assert [*rows.all_open()] == [row for row, state in known.items() if state is State.OPEN]
    assert rows.count() == Counter(state for state in known.values() if state)


def test_of_rows_that_nobody_came_to_nothing_is_known(rows: RowStates) -> None:
    assert rows.read(rows.end + 5, 3) == bytes(3)
