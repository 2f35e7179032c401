"""What a run tells of itself, as people read it."""

from __future__ import annotations

import pytest

from engager.events import Summary


@pytest.mark.parametrize(
    ("elapsed", "total", "duration"),
    [
        (2.34, 2.9, "2.3 s"),
        (2.34, 3.5, "2.3 s (0:00:04 in total)"),
        (2.34, 26_000.0, "2.3 s (7:13:20 in total)"),
        (90_000.0, 180_000.0, "90000.0 s (2 days, 2:00:00 in total)"),
    ],
)
def test_a_duration_names_the_total_where_it_is_another(elapsed: float, total: float, duration: str) -> None:
    summary = Summary("spring", "77", True, 0, None, "", "", elapsed, total, 9, {}, [], 9, 0, {}, {}, 9)
    assert summary.duration == duration
