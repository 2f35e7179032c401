"""One byte a row, which no flipped bit turns into another state."""

from __future__ import annotations

from itertools import combinations

import pytest

from engager.ledger.states import STATES, WORDS, State


@pytest.mark.parametrize("state", State)
def test_a_flipped_bit_is_mended_and_two_are_noticed(state: State) -> None:
    word = WORDS[state]
    assert STATES[word] == state
    for bit in range(8):
        assert STATES[word ^ 1 << bit] == state
    for one, other in combinations(range(8), 2):
        assert STATES[word ^ 1 << one ^ 1 << other] == State.DAMAGED


def test_a_row_that_nobody_touched_is_a_zero() -> None:
    assert WORDS[State.UNTOUCHED] == 0
