"""Run directories with given outcomes, made by the store itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engager.models import EngageRequest, Outcome, Row, Status
from engager.reader.outcome_lines import CsvLines, JsonLines, RejectedJson
from engager.store.files.formats import Formats
from engager.store.opening import begin
from engager.store.run_directory import RunDirectory, new_run
from engager.store.store import StoreOptions

#: 2026-11-24 08:00:00 UTC
MORNING = 1_795_507_200.0


def outcome(row: int, status: Status = Status.ENGAGED, after: float | None = None, **facts: Any) -> Outcome:
    """One row's outcome; `after` is when, in seconds since the morning."""
    facts.setdefault("key", f"p{row}@example.com")
    sent = status not in (Status.INVALID, Status.SKIPPED)
    measured = {"attempts": 1, "latency_ms": 20.0 + row % 50, "waited_ms": 1.0 + row % 7} if sent else {}
    when = MORNING + (row * 0.05 if after is None else after)
    row_of = Row(row, row + 1, "people.jsonl", {"email": "x"})
    return Outcome(row_of, status=status, finished_at=when, **{**measured, **facts})


async def made(
    path: Path,
    outcomes: Sequence[Outcome],
    in_flight: Sequence[int] = (),
    complete: bool = True,
    results: str = "jsonl",
    exit_code: int = 0,
) -> RunDirectory:
    """A run in a folder that had these outcomes, and nobody works on it."""
    identity = {
        "job": {"name": "spring"},
        "endpoint": {"url": "https://crm.example.com"},
        "request": {"id": 12},
        "input": {"files": [{"bytes": 4096, "sample": ""}]},
        "output": {"results": results},
    }
    invocation: dict[str, Any] = {"job": "spring.toml", "overrides": [], "input": None}
    run = replace(new_run(path), identity=identity, invocation=invocation, started_at=MORNING)
    path.mkdir(mode=0o700, exist_ok=True)
    formats = Formats(JsonLines() if results == "jsonl" else CsvLines(), RejectedJson(str), str)
    store = begin(run, StoreOptions(formats, synced=False, token=""))
    store.start(attempts=1)
    for one in outcomes:
        if (writing := store.after([one])) is not None:
            await writing
    for number in in_flight:
        row = Row(number, number + 1, "people.jsonl", {"email": "x"})
        store.before_send([EngageRequest(row, "x", "id", (b"{}",))])
    await store.flush()
    tally = store.tally.as_dict()
    store.close()
    if complete:
        summary = {"complete": True, "stopped": None, "exit_code": exit_code, **tally}
        summary["finished_at"] = "2026-11-24T09:00:00Z"
        run.write_summary(summary)
    return run
