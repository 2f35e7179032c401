"""The short form: runs of imports with fixed seeds, in every delivery mode."""

from __future__ import annotations

from tests.odd.endpoints import MODES, series
from tests.odd.imports import ImportCase

SEEDS = range(1, 19)


async def test_no_odd_endpoint_makes_a_claim_of_an_import_false() -> None:
    assert {ImportCase.drawn(seed).mode for seed in SEEDS} == set(MODES)
    report = await series(SEEDS, jobs=len(SEEDS), drawn=ImportCase.drawn)
    assert report.wrong == []
    assert report.cases == len(SEEDS)
    assert report.statuses["engaged"]
    assert report.statuses["accepted"]
