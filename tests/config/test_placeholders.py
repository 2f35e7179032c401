"""Dates in names: what they become, what they find again, and what is no placeholder."""

from __future__ import annotations

from datetime import datetime
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engager.config.placeholders import (
    NamingError,
    escaped,
    example_of,
    expanded,
    is_dated,
    namesakes,
)

NIGHT = datetime(2026, 11, 24, 2, 5, 9)
TEXTS = st.text("ab{}[]*?-.0é")
PATTERNS = st.lists(st.one_of(TEXTS.map(escaped), st.sampled_from(["{date}", "{time}", "{datetime}"]))).map(
    "".join
)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("runs/nightly-{date}", "runs/nightly-2026-11-24"),
        ("{date}/{time}", "2026-11-24/020509"),
        ("{datetime}", "2026-11-24T020509"),
        ("plain", "plain"),
        ("{{date}}", "{date}"),
    ],
)
def test_what_a_name_becomes(pattern: str, name: str) -> None:
    assert expanded(pattern, NIGHT) == name


@pytest.mark.parametrize("pattern", ["{day}", "{}", "{date:%s}", "{date.year}", "{date", "date}", "{ date }"])
def test_an_unknown_placeholder_is_refused_and_the_known_ones_are_named(pattern: str) -> None:
    with pytest.raises(NamingError, match=r"\{date\}, \{time\}, \{datetime\}"):
        example_of(pattern)


@given(TEXTS)
def test_a_text_taken_literally_is_itself_at_every_moment(text: str) -> None:
    pattern = escaped(text)
    assert expanded(pattern, NIGHT) == text
    assert not is_dated(pattern)


@given(PATTERNS, st.datetimes(datetime(1000, 1, 1)))
def test_a_name_of_any_moment_is_found_by_its_namesakes(pattern: str, moment: datetime) -> None:
    assert fnmatchcase(expanded(pattern, moment), namesakes(pattern))


def test_a_name_of_another_kind_is_not_found() -> None:
    assert not fnmatchcase("runs/nightly-mended", namesakes("runs/nightly-{date}"))
    assert not fnmatchcase("runs/night1y-2026-11-24", namesakes("runs/nightly-{date}"))
