"""A run directory in, its page out: written for its owner only, whole or not at all."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from engager.config.secret import Secret
from engager.config.version import __version__
from engager.errors import RunDirectoryError
from engager.output.report import svg
from engager.output.report.figures import MANY_TRIES, Cell, Figures, Kind
from engager.output.report.heading import head, notices, told
from engager.output.report.lines import ResultLines
from engager.output.report.plots import SHARES, STATUSES, Bin, OverTime, Plot, bins, distribution
from engager.output.report.text import duration, milliseconds, number, share, word
from engager.store.run_directory import RunDirectory, replace_file
from engager.store.status import look
from engager.store.tally import Histogram

NAME = "report.html"

#: Lines after which the reader is asked whether it goes on.
_ASK_EVERY = 4096

_FILES = Path(__file__).parent / "files"

#: By which a page of ours is told from a file that must not be overwritten.
_OURS = b'<meta name="generator" content="engager">'


def _never() -> bool:
    return False


def write_report(run: RunDirectory, out: Path | None = None, give_up: Callable[[], bool] = _never) -> Path:
    """Write a run's page, into its directory unless told otherwise; returns where.

    `give_up` is asked now and then. Raises RunDirectoryError, also when it was given up.
    """
    path = out or run.path / NAME
    try:
        if out is not None and path.exists() and _OURS not in path.read_bytes()[:2048]:
            raise RunDirectoryError(f"{path}: the file is no report, and is left alone. Name another --out.")
        replace_file(path, Secret.redact_all(page_of(run, give_up)).encode())
    except OSError as fault:
        raise RunDirectoryError(f"{path}: the report cannot be written: {fault.strerror}.") from fault
    return path


def page_of(run: RunDirectory, give_up: Callable[[], bool] = _never) -> str:
    """A run's page. Raises RunDirectoryError when it was given up."""
    lines, figures = ResultLines(run), Figures()
    for number_of, line in enumerate(lines):
        if not number_of % _ASK_EVERY and give_up():
            raise RunDirectoryError(f"{run.path}: the report was given up.")
        try:
            figures.count(line)
        except (KeyError, ValueError, TypeError, OverflowError):
            lines.damaged += 1
    # The journal is read behind the results: what is settled in between is not called missing.
    return _filled(run, figures, lines, look(run))


def _filled(run: RunDirectory, figures: Figures, lines: ResultLines, seen: Mapping[str, Any]) -> str:
    whole = figures.whole
    environment = Environment(
        loader=FileSystemLoader(_FILES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"number": number, "ms": milliseconds, "word": word}
    return environment.get_template("report.html").render(
        **_assets(),
        job=run.identity["job"]["name"],
        state=seen["state"],
        head=head(run, figures, seen),
        notices=notices(run, whole.rows, lines, seen),
        rows=whole.rows,
        bar=svg.bar(STATUSES, [whole.statuses[status] / max(1, whole.rows) for status in STATUSES]),
        tiles=[
            {"status": s, "name": word(s), "rows": rows, "share": share(rows, whole.rows)}
            for s, rows in whole.statuses.items()
        ],
        tries=_tries(figures),
        attempts=figures.attempts,
        duplicates=figures.duplicates,
        kinds=_kinds(figures),
        results=lines.path.name,
        version=__version__,
        made=told(datetime.now(UTC)),
        **_over_time(figures, whole),
    )


def _assets() -> dict[str, Any]:
    style, script = ((_FILES / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # Files of ours: everything else is escaped by the template.
    return {"policy": Markup(policy), "style": Markup(style), "script": Markup(script)}  # noqa: S704


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


@dataclass(frozen=True, slots=True)
class Measured:
    """A kind of duration: how it is told, drawn and counted."""

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
            "Rows by latency",
            _percentiles(whole.latency),
            time.percentiles(
                "latency-time",
                "Latency over time",
                "The last try of a row, from when it was due to its answer: half of all rows stay below p50.",
                lambda cell: cell.latency,
            ),
            distribution(
                "latency-spread",
                "Latency distribution",
                "How many rows took how long; log scale.",
                whole.latency,
            ),
            bins(whole.latency),
        ),
        "waited": Measured(
            "Rows by waiting",
            _percentiles(whole.waited),
            time.percentiles(
                "waited-time", "Waiting over time", "All tries of a row together.", lambda cell: cell.waited
            ),
            distribution(
                "waited-spread",
                "Waiting distribution",
                "How many rows waited how long; log scale.",
                whole.waited,
            ),
            bins(whole.waited),
        ),
        "statuses": STATUSES,
        "step": duration(time.width),
        "time_rows": [_time_row(moment, cell, time.width) for moment, cell in time.rows],
    }


def _percentiles(histogram: Histogram) -> list[tuple[str, str]]:
    return [(f"p{p}", _quoted(histogram, p)) for p in SHARES]


def _quoted(histogram: Histogram, percent: int) -> str:
    value = histogram.percentile(percent / 100)
    return "–" if value is None else milliseconds(value)


def _time_row(moment: str, cell: Cell, width: float) -> dict[str, Any]:
    return {
        "moment": moment,
        "statuses": list(cell.statuses.items()),
        "rate": cell.rows / width,
        "percentiles": [_quoted(histogram, p) for histogram in (cell.latency, cell.waited) for p in SHARES],
    }


def _tries(figures: Figures) -> list[dict[str, Any]]:
    most = max(figures.tries.values(), default=1)
    return [
        {
            "name": _tries_named(tries),
            "rows": found,
            "bar": svg.bar(["tries"], [found / most]),
        }
        for tries, found in sorted(figures.tries.items())
    ]


def _tries_named(tries: int) -> str:
    return "0, never sent" if not tries else f"{tries} and more" if tries == MANY_TRIES else str(tries)


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
    """From the first to the last, without the fractions of a second."""
    first, last = kind.first[:19].replace("T", " "), kind.last[:19].replace("T", " ")
    if first == last:
        return first
    return f"{first} to {last[11:] if first[:10] == last[:10] else last}"
