"""The short form: files of fixed seeds, one of them by the real command."""

from __future__ import annotations

from itertools import chain

from tests.odd.files import series

#: Seeds whose files were engaged wrongly or refused in other words: a title, UTF-32, JSONL that is no UTF-8.
FOUND = (29, 206, 637, 10047, 10348, 20436)


async def test_no_person_of_an_odd_file_is_lost_or_taken_for_another() -> None:
    report = await series(chain(FOUND, range(50, 80)))
    assert report.wrong == []
    assert report.real
    assert {"tidy", "refused by init", "refused by check", "row engaged", "row invalid"} <= set(
        report.outcomes
    )
