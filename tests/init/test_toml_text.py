"""Whatever a name holds, TOML reads the same name again."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from engager.init import toml_text


@given(st.text())
def test_any_text_comes_back_as_a_key_and_as_a_value(text: str) -> None:
    line = f"{toml_text.key(text)} = {toml_text.text(text)}"
    assert tomllib.loads(line) == {text: text}


@given(st.text())
def test_no_text_gets_out_of_its_comment(text: str) -> None:
    assert tomllib.loads(f"# left out: {toml_text.text(text)}\na = 1") == {"a": 1}


def test_what_would_turn_a_line_around_is_shown_as_what_it_is() -> None:
    assert toml_text.text("a\u202eb\x1b") == '"a\\u202eb\\u001b"'


def test_a_bare_key_stays_bare() -> None:
    assert [toml_text.key(name) for name in ("first_name", "a-1", "a b", "имя", "")] == [
        "first_name",
        "a-1",
        '"a b"',
        '"имя"',
        '""',
    ]


def test_values() -> None:
    values = ("a", 5, 0.5, 30.0, True, False, ["a", 1])
    assert [toml_text.value(value) for value in values] == [
        '"a"',
        "5",
        "0.5",
        "30",
        "true",
        "false",
        '["a", 1]',
    ]
