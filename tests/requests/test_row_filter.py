"""The rule `input.filter`: by the values of columns."""

from __future__ import annotations

from typing import Any

import pytest

from engager.errors import ParameterError
from engager.requests.row_filter import RowFilter


@pytest.mark.parametrize(
    ("value", "wanted", "matches"),
    [
        ("yes", ["yes"], True),
        ("\u00a0yes\t", ["yes"], True),
        ("Yes", ["yes"], False),
        ("no", ["yes", "no"], True),
        (True, [True], True),
        (True, ["true"], True),
        (True, [1], False),
        ("true", [True], True),
        (1, ["1"], True),
        ("1", [1], True),
        (1.5, ["1.5"], True),
        (None, [""], True),
        (None, ["yes"], False),
        ("", [""], True),
        ("NULL", [""], True),
        ("NULL", ["NULL"], True),
        (["yes"], ["yes"], False),
        ({"yes": "yes"}, ["yes"], False),
    ],
)
def test_a_value_is_wanted_or_not(value: Any, wanted: list[Any], matches: bool) -> None:
    rule = RowFilter({"consent": wanted}, None, frozenset({"NULL"}))
    assert rule.missed_by({"consent": value}) == (None if matches else "consent")
    if isinstance(value, str):
        table = RowFilter({"consent": wanted}, ("email", "consent"), frozenset({"NULL"}))
        assert table.missed_by(["x", value]) == (None if matches else "consent")


def test_an_object_without_the_key_says_nothing() -> None:
    assert RowFilter({"a": ["yes"]}, None).missed_by({"b": "yes"}) == "a"
    assert RowFilter({"a": ["yes"], "b": ["no"]}, None).missed_by({"a": "yes", "b": "yes"}) == "b"


@pytest.mark.parametrize("columns", [("email",), ("a", "email", "a")])
def test_the_column_is_one_of_the_table(columns: tuple[str, ...]) -> None:
    with pytest.raises(ParameterError) as refused:
        RowFilter({"a": ["yes"]}, columns)
    assert refused.value.key == "input.filter.a"
