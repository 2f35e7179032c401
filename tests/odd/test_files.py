"""The short form: files of fixed seeds, one of them by the real command."""

from __future__ import annotations

from itertools import chain

from tests.odd.files import series

#: Seeds whose files were engaged or judged wrongly: a title, UTF-32, JSONL that is no UTF-8, JSONL of which
#: no row that can be read has a key, and JSONL below a comment.
FOUND = (29, 206, 637, 10047, 10348, 20436, 101834, 201218)


async def test_no_person_of_an_odd_file_is_lost_or_taken_for_another() -> None:
    report = await series(chain(FOUND, range(50, 80)))
    assert report.wrong == []
    assert report.real
    assert {"tidy", "refused by init", "refused by check", "row engaged", "row invalid"} <= set(
        report.outcomes
    )
