"""A repeat is noticed on the way, in little memory; none is made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.models import EngageRequest, Invalid, Row
from engager.requests import repeats
from engager.requests.key_forms import fold_of
from engager.requests.repeats import RepeatDetector


def request(number: int, key: str, identity: str = "") -> EngageRequest:
    row = Row(number, number + 1, "people.csv", [])
    return EngageRequest(row, key, f"id-{number}", (b"{}",), identity=identity)


def found(*keys: str) -> list[tuple[int, int]]:
    reported: list[tuple[int, int]] = []
    detector = RepeatDetector(fold_of("email"), lambda row, first: reported.append((row, first)))
    for number, key in enumerate(keys, 1):
        detector.observe(request(number, key))
    return reported


def test_the_first_repeat_is_reported_and_no_other() -> None:
    assert found("a@x.org", "b@x.org", " A@X.org", "b@x.org") == [(3, 1)]


@given(st.lists(st.text(max_size=2), unique_by=fold_of("email")))
def test_no_repeat_is_made_up(keys: list[str]) -> None:
    assert found(*keys) == []


def test_only_the_first_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "COMPARED", 4)
    assert found("a", "b", "c", "a") == [(4, 1)]
    assert found("a", "b", "c", "d", "a") == []


def test_keys_that_find_no_room_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "_SLOTS", 16)
    keys = [f"p{n}@x.org" for n in range(1000)]
    assert found(*keys) == []
    assert found(*keys, *keys)[0] == (1001, 1)


def test_all_that_a_profile_is_matched_by_makes_a_repeat() -> None:
    reported: list[int] = []
    detector = RepeatDetector(fold_of("field_value"), lambda row, first: reported.append(row))
    for number, identity in enumerate(("1\x1fcard", "1\x1fclub", "1\x1fcard"), 1):
        detector.observe(request(number, "1", identity))
    assert reported == [3]


def test_what_is_no_request_is_not_looked_at() -> None:
    detector = RepeatDetector(fold_of("email"), lambda row, first: pytest.fail("it is no request"))
    build = detector.wrapping(lambda row: Invalid(row, "a@x.org", "malformed", "x"))
    for number in (1, 2):
        assert isinstance(build(Row(number, number, "f", [])), Invalid)
