"""What a person sees of a run under way."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from engager.events import Snapshot
from engager.models import Status
from engager.output.terminal import view
from engager.output.text import status_line

UNKNOWN = dict.fromkeys(("p50", "p95", "p99"))

NOW = Snapshot(
    elapsed_seconds=45.0,
    rows=600,
    total=1000,
    eta_seconds=5.0,
    statuses=dict.fromkeys(map(str, Status), 0) | {"engaged": 600},
    errors=[],
    attempts=900,
    retries=300,
    duplicates=0,
    latency_ms=UNKNOWN,
    recent_latency_ms=UNKNOWN,
    waited_ms=UNKNOWN,
    rows_per_second=333.3,
    rate=500.0,
    in_flight=64,
    holders={},
)


def seen(now: Snapshot, width: int) -> list[str]:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(view(now))
    return capture.get().splitlines()


def test_a_pace_of_rows_is_not_taken_for_one_of_requests() -> None:
    text = "333 rows/s (limit 500 requests/s), 64 in flight"
    assert text in status_line(NOW)
    assert text in seen(NOW, 80)


def test_without_a_limit_none_is_shown() -> None:
    assert "333 rows/s, 64 in flight" in status_line(replace(NOW, rate=None))
