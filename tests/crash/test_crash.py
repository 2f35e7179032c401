"""The short form of the harness: every point, every mode, every kind of endpoint, on fixed seeds."""

from __future__ import annotations

from itertools import product

from tests.crash.case import ENDPOINTS, MODES, Case
from tests.crash.deadly import POINTS
from tests.crash.harness import Report, series


async def test_a_kill_at_any_point_breaks_no_guarantee() -> None:
    report = Report()
    cases = (Case.drawn(seed, point=point, mode="exactly-once") for seed, point in enumerate(POINTS, 100))
    await series(cases, report)
    assert report.wrong == []
    assert set(report.kills) == set(POINTS)


async def test_kills_break_no_guarantee_of_a_mode() -> None:
    report = Report()
    pairs = [pair for pair in product(MODES, ENDPOINTS) if pair != ("exactly-once", "does not deduplicate")]
    drawn = [Case.drawn(seed, mode=mode, endpoint=name) for seed, (mode, name) in enumerate(pairs, 200)]
    assert {case.mode for case in drawn if case.spoils} == set(MODES) == {c.mode for c in drawn if c.unique}
    await series(drawn, report)
    assert report.wrong == []
    assert report.kills.total() > len(drawn)
    assert report.statuses["skipped"], "some of these runs had repeated people"


async def test_kills_with_changing_tokens_cause_no_second_message() -> None:
    report = Report()
    pairs = product(("exactly-once", "at-most-once"), list(ENDPOINTS)[:3])
    await series(
        (
            Case.drawn(seed, mode=mode, endpoint=endpoint, token="changes")
            for seed, (mode, endpoint) in enumerate(pairs, 300)
        ),
        report,
    )
    assert report.wrong == []
    assert report.kills
