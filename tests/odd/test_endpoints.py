"""The short form: runs of fixed seeds, in every delivery mode."""

from __future__ import annotations

from tests.odd.endpoints import MODES, Case, series

#: Seeds whose runs have claimed what was not so, or sent twice.
FOUND = (28, 139)
SEEDS = (*FOUND, *range(1, 13))


async def test_no_odd_endpoint_makes_a_claim_false() -> None:
    assert {Case.drawn(seed).mode for seed in SEEDS} == set(MODES)
    report = await series(SEEDS, jobs=len(SEEDS))
    assert report.wrong == []
    assert report.cases == len(SEEDS)
    assert report.statuses["engaged"]
