"""The states of all rows: each is read as it was stored, also after a snapshot, in little memory."""

from __future__ import annotations

from math import inf

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engager.models import Status
from engager.store.row_states import (
    ACCEPTED,
    AGAIN,
    ALL_SETTLED,
    BLOCK,
    ENGAGED,
    FAILED,
    LOST,
    STATUS_OF,
    RowStates,
    code_of,
    code_without_line,
    status_without_line,
)

ROWS = st.one_of(st.integers(1, 40), st.integers(BLOCK - 3, BLOCK + 3), st.integers(1, 30 * BLOCK))
CODES = st.sampled_from([ENGAGED, ACCEPTED, FAILED, FAILED + 3, code_of(Status.IN_DOUBT, 99), LOST + 1])


def restored(states: RowStates) -> RowStates:
    facts, data = states.state()
    return RowStates.restored(orjson.loads(orjson.dumps(facts)), data)


@settings(deadline=None)
@given(st.lists(st.tuples(ROWS, CODES)))
def test_states_are_read_as_they_were_stored(given_codes: list[tuple[int, int]]) -> None:
    states, model = RowStates(), dict[int, int]()
    for row, code in given_codes:
        states.store(row, code)
        model[row] = code
    for each in (states, restored(states)):
        assert {row: each[row] for row in model} == model
        assert each.count().total() == len(model)
        first = min(model, default=1)
        assert list(each.read(first, 50)) == [model.get(row, 0) for row in range(first, first + 50)]


#: For every status: the code of a settled row, and of one whose lines are missing in the files.
WRITTEN = {
    Status.ENGAGED: (1, 192),
    Status.ACCEPTED: (5, 198),
    Status.REJECTED: (2, 193),
    Status.FAILED: (32, 196),
    Status.IN_DOUBT: (64, 197),
    Status.INVALID: (3, 194),
    Status.SKIPPED: (4, 195),
}


@pytest.mark.parametrize("status", Status)
def test_codes_of_stored_journals_do_not_change(status: Status) -> None:
    code, lost = code_of(status), code_without_line(status)
    assert (code, lost) == WRITTEN[status]
    assert (STATUS_OF[code], status_without_line(lost)) == (status, status)
    assert (code in ALL_SETTLED, lost in ALL_SETTLED) == (True, False)


def test_ten_million_rows_in_order_take_little_memory() -> None:
    states = RowStates()
    for first in range(1, 10_000_001, BLOCK):
        states.store_all(range(first, first + BLOCK), ENGAGED)
    facts, data = states.state()
    assert len(data) + len(orjson.dumps(facts)) < 4096
    assert restored(states).count_statuses()[Status.ENGAGED] >= 10_000_000


def test_a_stored_moment_is_never_later_than_the_real_one() -> None:
    states = RowStates()
    states.mark(700, 50.9)
    states.mark(701, 40.2)
    states.mark(70_000, -inf)
    for each in (states, restored(states)):
        assert 39 < each.moment(700) <= 40.2
        assert each.moment(70_000) == -inf == each.moment(140_000)
    states.shift(-1000.5)
    assert states.moment(700) <= 40.2 - 1000.5
    states.shift(-inf)
    assert states.moment(700) == -inf


@pytest.mark.parametrize("last", [1, 7, BLOCK, BLOCK + 5])
def test_lose_marks_each_row_that_is_not_settled(last: int) -> None:
    states = RowStates()
    states.store(1, ENGAGED)
    states.store(3, AGAIN + 2)
    states.lose(last)
    found = states.read(1, last + 2)
    assert found[0] == ENGAGED
    assert set(found[1:last]) <= {LOST, LOST + 2}
    assert found[2] == (LOST + 2 if last >= 3 else AGAIN + 2)
    assert found[last:] == bytes(2) or last < 3


@settings(deadline=None)
@given(st.lists(st.tuples(ROWS, CODES)))
def test_rows_of_a_form_get_another_one_and_keep_their_versions(given_codes: list[tuple[int, int]]) -> None:
    states, model = RowStates(), dict[int, int]()
    for row, code in given_codes:
        states.store(row, code)
        model[row] = code
    changed = states.change({FAILED: AGAIN})
    failed = {row for row, code in model.items() if code in (FAILED, FAILED + 3)}
    assert {row for row, is_changed in enumerate(changed) if is_changed} == failed
    assert {row: states[row] for row in model} == {
        row: code + (AGAIN - FAILED if row in failed else 0) for row, code in model.items()
    }
