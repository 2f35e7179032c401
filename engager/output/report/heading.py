"""The head of a report: facts of the run and notices."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engager.errors import Exit
from engager.models import TAKEN
from engager.output.report.figures import Figures
from engager.output.report.lines import ResultLines
from engager.output.report.text import duration, number
from engager.output.text import is_sandbox, plural
from engager.store.passes import latest
from engager.store.run_directory import RunDirectory


def head(run: RunDirectory, figures: Figures, seen: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts of a run as pairs of term and text. `seen` is the state that the journal has."""
    summary = run.summary() or {}
    started = datetime.fromtimestamp(run.started_at, UTC)
    finished = _finished(figures, summary) if seen["state"] != "running" else datetime.now(UTC)
    found = [
        ("endpoint", urlsplit(run.endpoint).netloc or run.endpoint),
        ("scenario", run.scenario or ""),
        ("input", _input(run)),
        ("started (UTC)", moment_text(started)),
        (
            "finished (UTC)" if seen["state"] == "complete" else "last known (UTC)",
            moment_text(finished) if finished else "–",
        ),
        ("duration", duration(max(0.0, (finished - started).total_seconds())) if finished else "–"),
        ("run", run.run_id[:12]),
    ]
    return [(term, text) for term, text in found if text]


def badge(seen: Mapping[str, Any]) -> str:
    """How the state of a run looks: `good` only if its exit code is 0 and the run reached a person."""
    if seen["state"] == "running":
        return "running"
    reached = any(seen["statuses"][status] for status in TAKEN)
    return "good" if seen["exit_code"] == Exit.DONE and reached else "warn"


def _finished(figures: Figures, summary: Mapping[str, Any]) -> datetime | None:
    """When the run ended; for a killed process the time of its last outcome."""
    known = [datetime.fromisoformat(summary["finished_at"])] if summary.get("finished_at") else []
    if figures.last:
        known.append(datetime.fromisoformat(f"{figures.last}+00:00"))
    return max(known, default=None)


def _input(run: RunDirectory) -> str:
    files = run.identity["input"]["files"]
    given = run.invocation.get("reads") or run.invocation.get("input")
    size = sum(file["bytes"] for file in files)
    name = Path(given).name if given and given != "-" else "stdin" if not files else ""
    return ", ".join(filter(None, (name, f"{number(size)} bytes" if files else "")))


def moment_text(moment: datetime) -> str:
    """A moment as text."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def notices(run: RunDirectory, rows: int, lines: ResultLines, seen: Mapping[str, Any]) -> list[str]:
    """What a reader must know before the numbers."""
    running, results = seen["state"] == "running", lines.path.name
    passes = another.number if (another := latest(run)) else 0
    again, missing = seen["pending_retry"], seen["rows"] - rows
    found = [
        (is_sandbox(run.endpoint), "The run was sent to the sandbox: nobody is reached by it."),
        (running, "The run is in progress: the report shows its state when the report was written."),
        (seen["stopped"] and not running, f"The run was stopped: {seen['stopped']}."),
        (seen["open"], _in_flight(seen["open"], running)),
        (again, f"{plural(again, 'row')} will be sent again."),
        (
            lines.torn,
            f"The last line of {results} is incomplete: "
            + ("it is being written" if running else "the process was killed while it wrote the line")
            + ". The report omits it.",
        ),
        (
            lines.damaged,
            f"{plural(lines.damaged, 'line')} of {results} cannot be read. The report omits them.",
        ),
        (missing > 0, _missing(missing, results, running)),
        (
            passes,
            f"Failed rows were sent again in {plural(passes, 'pass', 'passes')}. Their previous outcomes are "
            "in separate files and are not counted here.",
        ),
    ]
    return [text for applies, text in found if applies]


def _in_flight(rows: int, running: bool) -> str:
    was, are = ("was", "is") if rows == 1 else ("were", "are")
    if running:
        return f"{plural(rows, 'row')} {are} in flight."
    text = f"{plural(rows, 'row')} {was} in flight when the process ended"
    return f"{text}, and {are} settled when the run is resumed."


def _missing(rows: int, results: str, running: bool) -> str:
    are = "is" if rows == 1 else "are"
    then = "." if running else "; the lines are written when the run is resumed."
    return f"{plural(rows, 'settled row')} {are} not in {results} yet, and therefore not in this report{then}"
