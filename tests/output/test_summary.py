"""What a run tells of itself, as people read it."""

from __future__ import annotations

import pytest

from engager.events import Summary


@pytest.mark.parametrize(
    ("seconds", "in_all", "told"),
    [
        (2.34, 2.9, "2.3 s"),
        (2.34, 3.5, "2.3 s (0:00:04 in all)"),
        (2.34, 26_000.0, "2.3 s (7:13:20 in all)"),
        (90_000.0, 180_000.0, "90000.0 s (2 days, 2:00:00 in all)"),
    ],
)
def test_nobody_takes_the_last_start_for_the_whole_run(seconds: float, in_all: float, told: str) -> None:
    summary = Summary("spring", "77", True, 0, None, "", "", seconds, in_all, 9, {}, [], 9, 0, {}, {})
    assert summary.duration == told
