"""The report of a run: readable by its owner only, written whole or not at all."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from markupsafe import Markup

from engager.config.secret import Secret
from engager.config.version import __version__
from engager.errors import RunDirectoryError
from engager.models import Status
from engager.output.next_steps import next_steps
from engager.output.report import svg
from engager.output.report.figures import MANY_ATTEMPTS, Cell, Figures, Kind
from engager.output.report.heading import badge, head, moment_text, notices
from engager.output.report.lines import ResultLines
from engager.output.report.making import making
from engager.output.report.plots import SHARES, STATUSES, Bin, OverTime, Plot, bins, distribution
from engager.output.report.templates import FILES, templates
from engager.output.report.text import duration, milliseconds, word
from engager.output.text import share
from engager.run.operator.overview import state_of_run
from engager.store.run_directory import RunDirectory, replace_file
from engager.store.tally import Histogram

NAME = "report.html"

#: Lines between two calls of `give_up`.
_ASK_EVERY = 4096

#: Marks a report, which may be overwritten, unlike any other file.
_OURS = b'<meta name="generator" content="engager">'


def _never() -> bool:
    return False


def write_report(run: RunDirectory, out: Path | None = None, give_up: Callable[[], bool] = _never) -> Path:
    """Write the report of a run, by default into its directory; returns its path.

    `give_up` is called regularly, and True ends the work. Raises RunDirectoryError, also in that case.
    """
    path = out or run.path / NAME
    try:
        if out is not None and path.exists() and _OURS not in path.read_bytes()[:2048]:
            raise RunDirectoryError(
                f"{path}: the file is not a report and is not overwritten. Name another --out."
            )
        replace_file(path, Secret.redact_all(page_of(run, give_up)).encode())
    except OSError as fault:
        raise RunDirectoryError(f"{path}: the report cannot be written: {fault.strerror}.") from fault
    return path


def page_of(run: RunDirectory, give_up: Callable[[], bool] = _never) -> str:
    """The report as HTML. Raises RunDirectoryError if it was given up."""
    lines, figures = ResultLines(run), Figures()
    for number_of, line in enumerate(lines):
        if not number_of % _ASK_EVERY and give_up():
            raise RunDirectoryError(f"{run.path}: the report was cancelled.")
        try:
            figures.count(line)
        except (KeyError, ValueError, TypeError, OverflowError):
            lines.damaged += 1
    # The journal is read after the results, so that rows that are settled meanwhile do not count as missing.
    return _filled(run, figures, lines, state_of_run(run))


def _filled(run: RunDirectory, figures: Figures, lines: ResultLines, seen: Mapping[str, Any]) -> str:
    whole = figures.whole
    # Shares of the rows that are settled would look better than the run is.
    of_all = max(seen["total"] or 0, whole.rows)
    kinds = _kinds(figures)
    return (
        templates()
        .get_template("report.html")
        .render(
            **_assets(),
            job=run.identity["job"]["name"],
            state=seen["state"],
            exit_code=seen["exit_code"],
            badge=badge(seen),
            making=making(run, seen),
            steps=next_steps(run, seen),
            head=head(run, figures, seen),
            notices=notices(run, whole.rows, lines, seen),
            rows=whole.rows,
            total=of_all,
            share=share(whole.rows, of_all),
            requests=seen["requests"],
            bar=svg.bar(STATUSES, [whole.statuses[status] / max(1, of_all) for status in STATUSES]),
            tiles=[
                {"status": s, "name": word(s), "rows": rows, "share": share(rows, of_all)}
                for s, rows in _shown(whole, whole)
            ],
            attempts_by_row=_attempts(figures),
            attempts=figures.attempts,
            duplicates=figures.duplicates,
            kinds=[kind for kind in kinds if kind["status"] != Status.SKIPPED],
            skipped=[kind for kind in kinds if kind["status"] == Status.SKIPPED],
            results=lines.path.name,
            version=__version__,
            made=moment_text(datetime.now(UTC)),
            **_over_time(figures, whole),
        )
    )


def _assets() -> dict[str, Any]:
    names = ("chart.css", "report.css", "report.js")
    chart, rest, script = ((FILES / name).read_text(encoding="utf-8") for name in names)
    style = chart + rest
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # Our own files; the template escapes everything else.
    return {"policy": Markup(policy), "style": Markup(style), "script": Markup(script)}  # noqa: S704


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


@dataclass(frozen=True, slots=True)
class Measured:
    """A kind of duration: percentiles, plots and counts."""

    title: str
    percentiles: Sequence[tuple[str, str]]
    over_time: Plot
    distribution: Plot
    bins: Sequence[Bin]


def _over_time(figures: Figures, whole: Cell) -> dict[str, Any]:
    if not figures.cells:
        return {"time": None}
    time = OverTime(figures)
    return {
        "time": time,
        "throughput": time.throughput(),
        "shares": time.shares(),
        "latency": Measured(
            "Requests by latency",
            _percentiles(whole.latency),
            time.percentiles(
                "latency-time",
                "Latency over time",
                "The last attempt of a request, from when it was due to its response: half are below p50.",
                lambda cell: cell.latency,
            ),
            distribution(
                "latency-spread",
                "Latency distribution",
                "Number of requests by latency; log scale.",
                whole.latency,
            ),
            bins(whole.latency),
        ),
        "waited": Measured(
            "Requests by waiting time",
            _percentiles(whole.waited),
            time.percentiles(
                "waited-time",
                "Waiting over time",
                "All attempts of a request together.",
                lambda cell: cell.waited,
            ),
            distribution(
                "waited-spread",
                "Waiting distribution",
                "Number of requests by waiting time; log scale.",
                whole.waited,
            ),
            bins(whole.waited),
        ),
        "statuses": [status for status, _ in _shown(whole, whole)],
        "step": duration(time.width),
        "time_rows": [_time_row(moment, _shown(cell, whole), cell, time.width) for moment, cell in time.rows],
    }


def _percentiles(histogram: Histogram) -> list[tuple[str, str]]:
    return [(f"p{p}", _quoted(histogram, p)) for p in SHARES]


def _quoted(histogram: Histogram, percent: int) -> str:
    value = histogram.percentile(percent / 100)
    return "–" if value is None else milliseconds(value)


def _shown(cell: Cell, whole: Cell) -> list[tuple[str, int]]:
    """The statuses of a cell with their rows; `accepted`, which few methods have, only if it occurs."""
    return [
        (status, rows)
        for status, rows in cell.statuses.items()
        if status != Status.ACCEPTED or whole.statuses[status]
    ]


def _time_row(moment: str, statuses: Sequence[tuple[str, int]], cell: Cell, width: float) -> dict[str, Any]:
    return {
        "moment": moment,
        "statuses": statuses,
        "rate": cell.rows / width,
        "requests": cell.requests / width,
        "percentiles": [_quoted(histogram, p) for histogram in (cell.latency, cell.waited) for p in SHARES],
    }


def _attempts(figures: Figures) -> list[dict[str, Any]]:
    most = max(figures.attempts_by_row.values(), default=1)
    return [
        {
            "name": _attempts_text(attempts),
            "rows": found,
            "bar": svg.bar(["attempts"], [found / most]),
        }
        for attempts, found in sorted(figures.attempts_by_row.items())
    ]


def _attempts_text(attempts: int) -> str:
    if not attempts:
        return "0 (not sent)"
    return f"{attempts} or more" if attempts == MANY_ATTEMPTS else str(attempts)


def _kinds(figures: Figures) -> list[dict[str, Any]]:
    kinds = sorted(figures.kinds.values(), key=lambda kind: -kind.rows)
    return [
        {
            "status": kind.status,
            "error": kind.error,
            "rows": kind.rows,
            "when": _when(kind),
            "samples": kind.samples,
        }
        for kind in kinds
    ]


def _when(kind: Kind) -> str:
    """From the first to the last moment, without fractions of a second."""
    first, last = kind.first[:19].replace("T", " "), kind.last[:19].replace("T", " ")
    if first == last:
        return first
    return f"{first} to {last[11:] if first[:10] == last[:10] else last}"
