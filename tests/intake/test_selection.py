"""Repeats and suppression lists: exact, whatever the keys, and told to the person who wonders."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.errors import InputError
from engager.intake.keys import Keys
from engager.intake.selection import Selection, excluded_keys
from engager.model import EngageRequest, Invalid, Row, Skipped


@given(st.lists(st.text(max_size=3)))
def test_keys_are_a_set_that_knows_the_first_row(given_keys: list[str]) -> None:
    keys, model = Keys(), dict[str, int]()
    for row, key in enumerate(given_keys, 1):
        assert keys.first_row(key, row) == model.get(key)
        model.setdefault(key, row)
    assert len(keys) == len(model)
    assert all(key in keys for key in model)
    assert "never given" not in keys
    keys.close()


def request(number: int, key: str) -> EngageRequest:
    return EngageRequest(Row(number, number + 1, "people.csv", []), key, f"id-{number}", (b"{}",))


def test_a_later_row_with_the_same_key_is_left_out() -> None:
    selection = Selection(True, None, folds=True)
    first = selection.judge(request(1, "Ann@example.com"))
    again = selection.judge(request(7, "ann@EXAMPLE.com"))
    assert isinstance(first, EngageRequest)
    assert isinstance(again, Skipped)
    assert (again.error, again.error_text) == ("repeat", "row 1 has the same key")


def test_only_addresses_are_compared_without_regard_to_capitals() -> None:
    selection = Selection(True, None, folds=False)
    assert isinstance(selection.judge(request(1, "AbC")), EngageRequest)
    assert isinstance(selection.judge(request(2, "abc")), EngageRequest)


def test_a_row_that_is_no_request_is_nobodys_first() -> None:
    selection = Selection(True, None, folds=True)
    selection.judge(Invalid(Row(1, 2, "f", []), "a@example.com", "malformed", "x"))
    assert isinstance(selection.judge(request(2, "a@example.com")), EngageRequest)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("out.csv", "name,email\nx,Gone@example.com\n"),
        ("out.csv", "address\ngone@example.com\n"),
        ("out.jsonl", '{"email":"gone@example.com"}\n'),
        ("out.txt", "other@example.com\r\n gone@example.com"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_lists_of_every_form(tmp_path: Path, name: str, content: str, zipped: bool) -> None:
    if zipped:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    else:
        (tmp_path / name).write_text(content)
    keys = excluded_keys([f"{name}.gz" if zipped else name], tmp_path, ["email"], True)
    skipped = Selection(False, keys, folds=True).judge(request(1, "gone@Example.com"))
    assert isinstance(skipped, Skipped)
    assert skipped.error == "excluded"
    assert isinstance(Selection(False, keys, folds=True).judge(request(2, "b@example.com")), EngageRequest)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a,b\n1,2\n", "which column has the keys"),
        ("email,name\nx\n", "out.csv, line 2"),
    ],
)
def test_a_list_that_may_say_less_than_it_should_is_refused(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "out.csv").write_text(content)
    with pytest.raises(InputError, match=told):
        excluded_keys(["out.csv"], tmp_path, ["email"], True)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        excluded_keys(["nobody.csv"], tmp_path, ["email"], True)
