"""Which type a column has, and the template that fetches it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engager.init.columns import column_of, obstacle, template_of
from tests.init.inputs import sampled


@pytest.mark.parametrize(
    ("texts", "template"),
    [
        (["1", "-20", "0"], "{c:int}"),
        (["1", "", "3"], "{c:int|}"),
        (["1.50", "2", "-0.1"], "{c:float}"),
        (["true", "False"], "{c:bool}"),
        (["yes", "", "no"], "{c:bool|}"),
        (["Ann", "Bob"], "{c}"),
        (["Ann", ""], "{c|}"),
        (["", ""], "{c|}"),
        (["007", "12"], "{c}"),  # a leading zero is part of a code
        (["1e5", "2"], "{c}"),
        (["1,5", "2,5"], "{c}"),
        (["79160000000", "79160000001"], "{c}"),  # a phone is no number
        (["1500000", "12"], "{c:int}"),
        (["9007199254740993", "1"], "{c}"),  # it would be rounded
        (["0.1000000000000000055511151231257827", "1"], "{c}"),
        (["1" * 5000, "1"], "{c}"),
        (["1_000", "2"], "{c}"),
        (["١٢", "٣"], "{c}"),
    ],
)
def test_a_column_of_csv_is_cast_where_nothing_is_lost(
    tmp_path: Path, texts: list[str], template: str
) -> None:
    sample = sampled(tmp_path, "email,c\n" + "".join(f'a@x.org,"{text}"\n' for text in texts))
    assert template_of(column_of(sample, "c"), sample) == template


def test_a_column_that_is_called_a_phone_stays_text(tmp_path: Path) -> None:
    sample = sampled(tmp_path, "email,Телефон\na@x.org,123\n")
    assert template_of(column_of(sample, "Телефон"), sample) == "{Телефон}"


@pytest.mark.parametrize(
    ("values", "template"),
    [
        ([1, 2], "{c}"),
        ([1, None], "{c:int|}"),
        ([1, 2.5, None], "{c:float|}"),
        ([True, None], "{c:bool|}"),
        (["a", "b"], "{c}"),
        (["a", None], "{c|}"),
        ([{"a": 1}, [1]], "{c}"),
        ([{"a": 1}, None], "{c:json|}"),
        (["a", 1, None], "{c|}"),
    ],
)
def test_a_column_of_jsonl_keeps_its_type_also_where_rows_lack_it(
    tmp_path: Path, values: list[Any], template: str
) -> None:
    rows = [{"email": "a@x.org"} | ({} if value is None else {"c": value}) for value in values]
    sample = sampled(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "a.jsonl")
    assert template_of(column_of(sample, "c"), sample) == template


def test_a_template_never_reads_another_column(tmp_path: Path) -> None:
    sample = sampled(tmp_path, "a,a:int,b|c,b\n1,2,3,4\n")
    found = {name: template_of(column_of(sample, name), sample) for name in sample.columns}
    assert found == {"a": "{a}", "a:int": "{a:int:int}", "b|c": "{b|c}", "b": "{b:int}"}


def test_a_name_with_a_colon_in_jsonl_is_held_by_a_cast(tmp_path: Path) -> None:
    sample = sampled(tmp_path, '{"utm:source": "x"}\n', "a.jsonl")
    assert template_of(column_of(sample, "utm:source"), sample) == "{utm:source:str}"


@pytest.mark.parametrize(
    ("header", "name", "usable"),
    [
        ("a{b", "a{b", False),
        ("x,x", "x", False),
        ("a, ", " ", False),
        ("a,engager_row", "engager_row", False),
        ("a,b", "a", True),
    ],
)
def test_what_stands_in_a_columns_way(tmp_path: Path, header: str, name: str, usable: bool) -> None:
    assert (obstacle(name, sampled(tmp_path, f"{header}\n")) == "") is usable
