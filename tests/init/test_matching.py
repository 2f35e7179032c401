"""By which column the people of an input are matched."""

from __future__ import annotations

from pathlib import Path

import pytest

from engager.init.matching import MatchingKey, key_of
from tests.init.inputs import sampled


def key(folder: Path, content: str, name: str = "people.csv") -> MatchingKey:
    sample = sampled(folder, content, name)
    return key_of(sample, sample.columns)


@pytest.mark.parametrize("name", ["email", "E-Mail", "email_address", "Почта", "Эл. почта", "имейл", "mail"])
def test_an_address_by_its_name(tmp_path: Path, name: str) -> None:
    found = key(tmp_path, f"name,{name},phone\n")
    assert (found.mode, found.column) == ("email", name)


@pytest.mark.parametrize("name", ["phone", "Телефон", "Номер телефона", "Мобильный", "mobile phone", "тел."])
def test_a_phone_by_its_name(tmp_path: Path, name: str) -> None:
    found = key(tmp_path, f"name,{name}\n")
    assert (found.mode, found.column) == ("phone", name)


@pytest.mark.parametrize(
    ("content", "mode", "column"),
    [
        ("contact,name\na@x.org,A\n", "email", "contact"),
        ("contact,name\n+79160000000,A\n", "phone", "contact"),
        ("_id,name\n5c9b2f4e8d1a2b3c4d5e6f70,A\n", "profile_id", "_id"),
        # an order of ten digits is no phone, whatever the endpoint would take
        ("order,name\n1234567890,A\n", "custom", "order"),
        # the name is a hint, and the values are what counts
        ("mailing_list,contact\nnews,a@x.org\n", "email", "contact"),
        ("email,phone\n,79160000000\n,79160000001\na@x.org,79160000002\n", "phone", "phone"),
        ("manager_email,email\nm@x.org,a@x.org\n", "email", "email"),
        ("email,phone\na@x.org,79160000000\n", "email", "email"),
        ("phone,note\n79160000000,friend@x.org\n", "phone", "phone"),
        # no values are used: the name remains, and a warning
        ("name,phone\nA,8 (916) 000-00-00\n", "phone", "phone"),
    ],
)
def test_values_count_and_names_decide_between_them(
    tmp_path: Path, content: str, mode: str, column: str
) -> None:
    found = key(tmp_path, content)
    assert (found.mode, found.column) == (mode, column)


def test_a_phone_that_is_a_number_is_sent_as_text(tmp_path: Path) -> None:
    assert key(tmp_path, '{"phone": 79160000000}\n', "a.jsonl").template == "{phone:str}"


@pytest.mark.parametrize(
    ("content", "template"),
    [
        ("level,CRM_ID\nA,17\nA,18\n", "{CRM_ID:int}"),
        ("level,код\nA,007\nA,008\n", "{код}"),
        ("level,nick\nA,ann\nA,bob\n", "{nick}"),
        ("level,score\nA,1.5\nA,2.5\n", "{score}"),
        ("level\nA\nA\n", "{level}"),
    ],
)
def test_otherwise_a_column_that_identifies_people(tmp_path: Path, content: str, template: str) -> None:
    found = key(tmp_path, content)
    assert (found.mode, found.template) == ("custom", template)
