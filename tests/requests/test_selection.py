"""Repeats and suppression lists: exact, whatever the keys, and fact to the person who wonders."""

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
from engager.requests.exclusion import Exclusion, Lists
from engager.requests.key_forms import fold_of, fold_of_listed, listed_keys
from engager.requests.keys import Keys
from engager.requests.selection import Selection


@given(st.sets(st.text(max_size=2)), st.sets(st.text(max_size=2)))
def test_a_later_set_of_keys_knows_which_it_lacks(before: set[str], now: set[str]) -> None:
    earlier, later = Keys(b"salt"), Keys(b"salt")
    try:
        earlier.add_all(before)
        later.add_all(now)
        assert later.missing(earlier.digests()) == len(before - now)
    finally:
        earlier.close()
        later.close()


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
    """What makes selections, which are closed after the test."""
    with ExitStack() as opened:
        yield lambda *facts: opened.enter_context(closing(Selection(*facts)))


def lists(folder: Path, *paths: str, column: str | None = None) -> Lists:
    return Lists(paths, folder, {"email": ["email"]}, column)


def excluded_by(found: Lists) -> Exclusion:
    exclusion = Exclusion(fold_of_listed([*found.fields]))
    with ExitStack() as opened:
        opened.callback(exclusion.close)
        found.add_to(exclusion)
        opened.pop_all()
    return exclusion


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


def test_a_row_that_is_no_request_is_never_the_first_with_its_key(chosen: Callable[..., Selection]) -> None:
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
    keys = excluded_by(lists(tmp_path, f"{name}.gz" if zipped else name))
    selection = chosen(False, keys, fold_of("email"))
    skipped = selection.judge(request(1, "gone@Example.com"))
    assert isinstance(skipped, Skipped)
    assert skipped.error == "excluded"
    assert isinstance(chosen(False, keys, fold_of("email")).judge(request(2, "b@example.com")), EngageRequest)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("a,b\n1,2\n", "input.exclude_column"),
        ("email,name\nx\n", "out.csv, line 2"),
        ("gone@example.com\nother@example.com\n", "out.csv, line 1"),
    ],
)
def test_a_list_that_may_say_less_than_it_should_is_refused(tmp_path: Path, content: str, fact: str) -> None:
    (tmp_path / "out.csv").write_text(content)
    with pytest.raises(InputError, match=fact):
        excluded_by(lists(tmp_path, "out.csv"))


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"input.exclude: .*missing\.csv"):
        excluded_by(lists(tmp_path, "missing.csv"))


def test_a_column_that_is_not_there_is_refused_also_where_there_is_only_one(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("email\ngone@example.com\n")
    with pytest.raises(InputError, match=r"'mail'.*input.exclude_column"):
        excluded_by(lists(tmp_path, "out.csv", column="mail"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("out.txt", "gone@пример.рф\n"),
        ("out.csv", "email;имя\na@x.org;Анна\n"),
        ("out.csv", "email;name\na@x.org;Анна\n"),
    ],
)
def test_a_list_in_another_encoding_names_its_own_key(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode("cp1251"))
    with pytest.raises(InputError, match=rf"{name}.*input.exclude_encoding"):
        excluded_by(lists(tmp_path, name))


@pytest.mark.parametrize(
    ("field", "one", "other", "same"),
    [
        ("email", "A@x.org ", "a@X.ORG", True),
        ("email", "ann@пример.рф", "ANN@XN--E1AFMKFD.xn--p1ai", True),
        ("email", "ann@bücher.example", "ann@xn--bcher-kva.example", True),
        ("email", "ann@пример.рф", "ann@другой.рф", False),
        ("phone", "+7 (900) 123-45-67", "79001234567", True),
        ("phone", "79001234567", "79001234568", False),
        ("field_value", "AbC", "abc", False),
        ("profile_id", "aa", "aa", True),
    ],
)
def test_what_means_the_same_person(field: str, one: str, other: str, same: bool) -> None:
    assert (fold_of(field)(one) == fold_of(field)(other)) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+79160000001", "89160000001"),
        ("9160000001", "8 (916) 000-00-01"),
        ("+44 20 7946 0000", "+442079460000"),
    ],
)
def test_a_region_makes_one_number_of_its_spellings(one: str, other: str) -> None:
    fold = fold_of("phone", region="RU")
    assert fold(one) == fold(other) != fold("+79160000002")


def test_each_part_of_a_key_is_compared_in_its_own_way() -> None:
    fold = fold_of("email", "phone", region="RU")
    assert fold("A@пример.рф\x1f89160000001") == fold("a@xn--e1afmkfd.xn--p1ai\x1f+79160000001")
    assert fold("A@x.org\x1f89160000001") != fold("a@x.org\x1f89160000002")


def test_all_that_a_profile_is_matched_by_makes_a_repeat(chosen: Callable[..., Selection]) -> None:
    spec = RequestSpec(
        {"id": 12, "matching": "custom", "field_name": "{name}", "field_value": "{value}"}, Path(), "t"
    )
    builder = compile_builder(spec, ("name", "value"), "run")
    builder.identifies = True
    selection = chosen(True, None, fold_of(*builder.key_fields))
    rows = [("card", "1"), ("club", "1"), ("card", "1")]
    judged = [selection.judge(builder.build(Row(n, n, "f", row))) for n, row in enumerate(rows, 1)]
    assert [type(each) for each in judged] == [EngageRequest, EngageRequest, Skipped]


GONE = ["gone@example.com"]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("gone@example.com,", GONE),
        ("gone@example.com;", GONE),
        ("Ann Lee <gone@example.com>", GONE),
        ('"Lee, Ann" <gone@example.com>,', GONE),
        ("mailto:gone@example.com?subject=stop", GONE),
        ("<MAILTO:gone@example.com>", GONE),
        ("gone@example.com # asked by phone", GONE),
        ("gone\u200b@example.com\ufeff", GONE),
        ("\u00a0'gone@example.com'\u00a0", GONE),
        ("gone@example.com, Bob <bob@example.com>", [*GONE, "bob@example.com"]),
        ("", []),
        ("# exported on Monday", []),
        ("# gone@example.com", None),
        ("gone@example.com,Ann", None),
        ("gone@example", None),
        ("+79160000001", None),
        ("g\0o\0n\0e\0@\0", None),
    ],
)
def test_an_entry_of_a_list_is_read_as_the_key_that_it_means(text: str, keys: list[str] | None) -> None:
    assert listed_keys(text, "email") == keys


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("tel:+7 (916) 000-00-01", ["+79160000001"]),
        ("8.916.000.00.01;", ["89160000001"]),
        ("+7\u00a0916\u2011000\u201300\u201401", ["+79160000001"]),
        ("gone@example.com", None),
        ("916", None),
    ],
)
def test_a_telephone_number_of_a_list_may_be_grouped(text: str, keys: list[str] | None) -> None:
    assert listed_keys(text, "phone") == keys


_around = st.text(" \t\u00a0\u200b\ufeff\u2003", max_size=3)


@given(
    st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8})?@[a-z]{1,8}\.[a-z]{2,5}", fullmatch=True),
    st.sampled_from(["{}", "<{}>", "Ann <{}>", '"{}"', "mailto:{}", "{},", "{};", "{} # stop", "'{}',"]),
    _around,
    _around,
)
def test_whatever_stands_around_an_address_is_taken_off(key: str, form: str, before: str, after: str) -> None:
    assert listed_keys(f"{before}{form.format(key)}{after}", "email") == [key]


@pytest.mark.parametrize("name", ["out.txt", "out.csv"])
@pytest.mark.parametrize(
    ("content", "line"),
    [(b"email\ngone@example.com\nnobody\n", 3), (b"email\n+79160000001\n", 2), (b"email\na@x.org\n\n7\n", 4)],
)
def test_what_can_be_no_key_is_refused_with_its_line(
    tmp_path: Path, name: str, content: bytes, line: int
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}, line {line}:"):
        excluded_by(lists(tmp_path, name))


@pytest.mark.parametrize("name", ["out.txt", "out.csv"])
def test_the_first_ten_wrong_entries_are_named_with_their_number(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("email\n" + "a@@x.org\nb@x.org\n" * 12)
    with pytest.raises(InputError) as refused:
        excluded_by(lists(tmp_path, name))
    text = str(refused.value)
    assert [f"line {line}:" in text for line in (2, 20, 22, 3)] == [True, True, False, False]
    assert "12 entries" in text


@pytest.mark.parametrize("region", [None, "RU"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("out.txt", "8 (916) 000-00-01\ngone@example.com\n"),
        ("out.txt", "phone\n89160000001\ngone@example.com\n"),
        ("out.csv", "email,phone\ngone@example.com,\n,89160000001\n"),
        ("out.csv", "phone;name;email\n8-916-000-00-01;A;gone@example.com\n"),
        ("out.jsonl", '{"phone":"89160000001"}\n{"email":"GONE@example.com","phone":null}\n'),
    ],
)
def test_each_part_of_a_composed_key_may_be_in_a_list(
    tmp_path: Path, name: str, content: str, region: str | None, chosen: Callable[..., Selection]
) -> None:
    (tmp_path / name).write_text(content)
    fields = {"email": ["email"], "phone": ["phone"]}
    exclusion = Exclusion(fold_of_listed([*fields], region))
    Lists([name], tmp_path, fields).add_to(exclusion)
    selection = chosen(False, exclusion, fold_of(*fields, region=region), len(fields))

    def is_skipped(address: str, phone: str) -> bool:
        asked = request(1, address)
        asked.identity = f"{address}\x1f{phone}"
        return isinstance(selection.judge(asked), Skipped)

    assert is_skipped("gone@example.com", "+79160000002")
    assert is_skipped("b@example.com", "89160000001")
    assert is_skipped("b@example.com", "+79160000001") is (region is not None)
    assert not is_skipped("b@example.com", "+79160000002")
    assert [source.keys for source in exclusion.sources] == [2]


@pytest.mark.parametrize("text", ["#89160000001", "gone@example.com +79160000001", "gone", "12"])
def test_what_may_be_a_key_of_one_part_is_not_ignored(text: str) -> None:
    assert listed_keys(text, "email", "phone") is None
    assert listed_keys("# exported on Monday", "email", "phone") == []


@pytest.mark.parametrize("name", ["out.txt", "out.csv", "out.jsonl", "out.csv.gz"])
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n \n", b"email\n"])
def test_a_list_without_keys_is_reported_by_their_number(tmp_path: Path, name: str, content: bytes) -> None:
    if name == "out.jsonl" and content == b"email\n":
        return
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with closing(excluded_by(lists(tmp_path, name))) as exclusion:
        assert [(source.name, source.keys) for source in exclusion.sources] == [(str(tmp_path / name), 0)]


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-16", None), ("utf-8-sig", None), ("utf-16-le", "utf-16-le"), ("cp1251", "cp1251")],
)
@pytest.mark.parametrize("name", ["out.txt", "out.csv"])
def test_lists_have_an_encoding_of_their_own(
    tmp_path: Path, name: str, encoding: str, declared: str | None
) -> None:
    (tmp_path / name).write_bytes("email\nанна@пример.рф\n".encode(encoding))
    with closing(excluded_by(Lists([name], tmp_path, {"email": ["email"]}, encoding=declared))) as exclusion:
        assert exclusion.source_of("анна@пример.рф") is not None
        assert [source.keys for source in exclusion.sources] == [1]


def test_wide_text_without_a_mark_is_no_list_of_utf_8(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_bytes("gone@example.com\n".encode("utf-16-le"))
    with pytest.raises(InputError, match="line 1"):
        excluded_by(lists(tmp_path, "out.txt"))
