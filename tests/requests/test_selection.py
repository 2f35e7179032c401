"""Repeats and suppression lists: exact, whatever the keys, and told to the person who wonders."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.errors import InputError
from engager.models import EngageRequest, Invalid, Row, Skipped
from engager.requests.builder import RequestSpec, compile_builder
from engager.requests.keys import Keys
from engager.requests.selection import Lists, Selection, fold_of


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
    return EngageRequest(
        Row(number, number + 1, "people.csv", []), key, f"id-{number}", (b"{}",), identity=key
    )


@pytest.fixture
def chosen() -> Iterator[Callable[..., Selection]]:
    """What makes selections, which are closed behind the test."""
    with ExitStack() as opened:
        yield lambda *facts: opened.enter_context(closing(Selection(*facts)))


def lists(folder: Path, *paths: str, column: str | None = None) -> Lists:
    return Lists(paths, folder, column, lambda text: "@" in text, ["email"])


def test_a_later_row_with_the_same_key_is_left_out(chosen: Callable[..., Selection]) -> None:
    selection = chosen(True, None, fold_of("email"))
    first = selection.judge(request(1, "Ann@example.com"))
    again = selection.judge(request(7, "ann@EXAMPLE.com"))
    assert isinstance(first, EngageRequest)
    assert isinstance(again, Skipped)
    assert (again.error, again.error_text) == ("repeat", "row 1 has the same key")


def test_only_addresses_are_compared_without_regard_to_capitals(chosen: Callable[..., Selection]) -> None:
    selection = chosen(True, None, fold_of("field_value"))
    assert isinstance(selection.judge(request(1, "AbC")), EngageRequest)
    assert isinstance(selection.judge(request(2, "abc")), EngageRequest)


def test_a_row_that_is_no_request_is_nobodys_first(chosen: Callable[..., Selection]) -> None:
    selection = chosen(True, None, fold_of("email"))
    selection.judge(Invalid(Row(1, 2, "f", []), "a@example.com", "malformed", "x"))
    assert isinstance(selection.judge(request(2, "a@example.com")), EngageRequest)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("out.csv", "name,email\nx,Gone@example.com\n"),
        ("out.csv", "address\ngone@example.com\n"),
        ("out.csv", "email;name\ngone@example.com;x\n"),
        ("out.tsv", "name\temail\nx\tgone@example.com\n"),
        ("out.jsonl", '{"email":"gone@example.com"}\n'),
        ("out.txt", '"gone@example.com"\n'),
        ("out.txt", "other@example.com\r\n gone@example.com"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_lists_of_every_form(
    tmp_path: Path, name: str, content: str, zipped: bool, chosen: Callable[..., Selection]
) -> None:
    if zipped:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    else:
        (tmp_path / name).write_text(content)
    keys = lists(tmp_path, f"{name}.gz" if zipped else name).keys(fold_of("email"))
    selection = chosen(False, keys, fold_of("email"))
    skipped = selection.judge(request(1, "gone@Example.com"))
    assert isinstance(skipped, Skipped)
    assert skipped.error == "excluded"
    assert isinstance(chosen(False, keys, fold_of("email")).judge(request(2, "b@example.com")), EngageRequest)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a,b\n1,2\n", "which column has the keys"),
        ("email,name\nx\n", "out.csv, line 2"),
        ("gone@example.com\nother@example.com\n", "Give the list a header"),
    ],
)
def test_a_list_that_may_say_less_than_it_should_is_refused(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "out.csv").write_text(content)
    with pytest.raises(InputError, match=told):
        lists(tmp_path, "out.csv").keys(fold_of("email"))


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"input.exclude: .*nobody.csv: no such file"):
        lists(tmp_path, "nobody.csv").keys(fold_of("email"))


def test_a_column_that_is_not_there_is_refused_also_where_there_is_only_one(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("email\ngone@example.com\n")
    with pytest.raises(InputError, match="no column 'mail'"):
        lists(tmp_path, "out.csv", column="mail").keys(fold_of("email"))


def test_lines_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_bytes("gone@example.com\n".encode("utf-16"))
    with pytest.raises(InputError, match="not UTF-8"):
        lists(tmp_path, "out.txt").keys(fold_of("email"))


@pytest.mark.parametrize(
    ("field", "one", "other", "same"),
    [
        ("email", "A@x.org ", "a@X.ORG", True),
        ("phone", "+7 (900) 123-45-67", "79001234567", True),
        ("phone", "79001234567", "79001234568", False),
        ("field_value", "AbC", "abc", False),
        ("profile_id", "aa", "aa", True),
    ],
)
def test_what_means_the_same_person(field: str, one: str, other: str, same: bool) -> None:
    assert (fold_of(field)(one) == fold_of(field)(other)) is same


def test_all_that_a_profile_is_matched_by_makes_a_repeat(chosen: Callable[..., Selection]) -> None:
    spec = RequestSpec(
        {"id": 12, "matching": "custom", "field_name": "{name}", "field_value": "{value}"}, Path(), "t"
    )
    builder = compile_builder(spec, ("name", "value"), "run")
    builder.identifies = True
    selection = chosen(True, None, fold_of(builder.key_field))
    rows = [("card", "1"), ("club", "1"), ("card", "1")]
    judged = [selection.judge(builder.build(Row(n, n, "f", row))) for n, row in enumerate(rows, 1)]
    assert [type(each) for each in judged] == [EngageRequest, EngageRequest, Skipped]
