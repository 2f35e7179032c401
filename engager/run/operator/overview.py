"""The state of a run for those who watch it: from its files, and from its process while that sends.

Invariant: a view never looks better than the run is. What an earlier process left says nothing of a later one
that was killed, and what cannot be known is None.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engager.errors import RunDirectoryError
from engager.events import utc_text
from engager.run.operator.control_socket import command
from engager.store.beneath import runs_beneath
from engager.store.run_directory import RunDirectory
from engager.store.status import existing_run, read_status

#: Seconds between two looks at a run that is followed; a look takes at most this share of the time.
EVERY, _SHARE = 1.0, 0.05

#: Seconds that a run has to say how it is.
_PATIENCE = 1.0

#: What only the process of a run knows, at this moment and in its latest snapshot.
_OF_PROCESS = ("in_flight", "oldest_in_flight_seconds", "stops_within_seconds", "senders")
_OF_SNAPSHOT = ("requests_per_second", "rows_per_second", "eta_seconds", "waits_for")

#: Why a run is stopped whose last process left no summary.
NO_SUMMARY = "its process ended without a summary: it was killed, or the machine went down"


def state_of_run(found: RunDirectory) -> dict[str, Any]:
    """The state of a run and its outcomes so far, as JSON values. Raises RunDirectoryError."""
    seen, summary = read_status(found), found.summary()
    running = seen["state"] == "running"
    known = summary is not None and not running and _is_latest(found, bool(summary.get("complete")))
    live = _live(found) if running else {"holders": {}}
    if not known:
        seen["stopped"] = live.get("stopped") if running else NO_SUMMARY
    total, now = _total(found, seen, live), live.get("snapshot") or {}
    return {
        "directory": str(found.path),
        "job": found.identity["job"]["name"],
        "endpoint": found.endpoint,
        "scenario": found.scenario,
        **seen,
        "total": total,
        "share": None if not total else round(min(1.0, seen["rows"] / total), 4),
        "holders": live.get("holders"),
        "rate": live.get("rate"),
        **{name: live.get(name) for name in _OF_PROCESS},
        **{name: now.get(name) for name in _OF_SNAPSHOT},
        "stopping": live.get("stopping", False if not running else None),
        "exit_code": summary["exit_code"] if summary and known else None,
        "given_up": found.given_up_path.exists(),
        "started_at": utc_text(found.started_at),
        "finished_at": summary["finished_at"] if summary and known else None,
    }


def _live(found: RunDirectory) -> dict[str, Any]:
    """What the process of a run says; nothing if it does not say anything."""
    try:
        return command(found, "state", _PATIENCE)
    except RunDirectoryError:
        return {}


def _total(found: RunDirectory, seen: dict[str, Any], live: dict[str, Any]) -> int | None:
    """The rows of the input, where they are known."""
    if seen["state"] == "complete":
        return int(seen["rows"])
    counted = (live.get("snapshot") or {}).get("total") or found.invocation.get("rows")
    return None if counted is None else max(int(counted), seen["rows"])


def _is_latest(found: RunDirectory, complete: bool) -> bool:
    """Whether the last process that sent wrote the summary: it is younger than the journal then."""
    if complete:
        return True
    journals = [found.path / name for name in ("journal.0", "journal.1")]
    written = max((file.stat().st_mtime_ns for file in journals if file.exists()), default=0)
    return found.summary_path.stat().st_mtime_ns >= written


def states_beneath(folder: Path) -> list[dict[str, Any]]:
    """The states of all runs beneath a folder; of one that cannot be read, why. Raises RunDirectoryError."""
    return [_state_or_problem(path) for path in runs_beneath(folder)]


def _state_or_problem(path: Path) -> dict[str, Any]:
    try:
        return state_of_run(existing_run(path))
    except RunDirectoryError as fault:
        return {"directory": str(path), "state": "unreadable", "stopped": str(fault)}


def follow(found: RunDirectory) -> Iterator[dict[str, Any]]:
    """Yields the state of a run, and again whenever it has changed, until the run is not in progress."""
    before = None
    while True:
        began = time.monotonic()
        now = state_of_run(found)
        if (shown := _shown(now)) != before:
            yield now
        if now["state"] != "running":
            return
        before = shown
        time.sleep(max(EVERY, (time.monotonic() - began) / _SHARE))


def _shown(now: dict[str, Any]) -> tuple[Any, ...]:
    """What a person sees of a state; the reason of a pause counts down."""
    holders, is_idle = sorted(now["holders"] or ()), now["waits_for"] is not None
    return now["state"], now["rows"], now["statuses"], holders, is_idle, now["stopping"]
