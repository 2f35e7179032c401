"""`find`: what became of one person, or the keys of all rows with a status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

import click

import engager
from engager import Exit, FoundRow, SearchedRun, Stage, Status
from engager.cli.ending import exit_with
from engager.cli.options import complete_path, output_format
from engager.cli.streams import echo_json, say, stdout_lost_its_reader
from engager.config.as_json import as_json
from engager.config.sanitize import sanitized
from engager.config.secret import Secret
from engager.errors import JobError
from engager.output.text import NOBODY, is_sandbox
from engager.reader.outcome_fields import MAX_KEY


@click.command("find", short_help="Show what became of one person.")
@click.argument("named", metavar="RUN... [KEY]", nargs=-1, required=True, shell_complete=complete_path)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([str(status) for status in Status]),
    help="Instead of KEY: list the rows with this status; repeatable.",
)
@click.option(
    "--keys", "only_keys", is_flag=True, help="With --status: print the key of each row, one per line."
)
@output_format
def find_command(named: tuple[str, ...], statuses: tuple[str, ...], only_keys: bool, output: str) -> NoReturn:
    """Look for KEY (an address, a phone) in runs, or in every run beneath a folder.

    Ends with 0 if a row was found, with 1 if not.
    """
    *runs, key = named if not statuses else (*named, None)
    if not runs:
        raise click.UsageError("give RUN and KEY, or RUN and --status")
    if only_keys and (not statuses or output == "json"):
        raise click.UsageError("--keys prints the keys of the rows with --status, as text")

    def search() -> int:
        searched = engager.find(*map(str, runs), key=key, statuses=statuses)
        if only_keys:
            return _print_keys(searched)
        if output == "json":
            documents = [run.as_dict() for run in searched]
            echo_json(Secret.redact_all(as_json(documents, indented=True).decode()).encode())
            return Exit.DONE if any(document["rows"] for document in documents) else Exit.INCOMPLETE
        return _print_rows(searched, key)

    exit_with(search)


def _print_rows(searched: Iterator[SearchedRun], key: str | None) -> int:
    runs = found = 0
    for run in searched:
        runs += 1
        for row in run.rows:
            found += 1
            say(_line(run, row))
            if stdout_lost_its_reader():
                return Exit.DONE
        _warn(run)
    if not found:
        what = "no row with this status" if key is None else f"{_shown(key)}: not found"
        say(f"{what} in {runs:,} {'run' if runs == 1 else 'runs'}")
    return Exit.DONE if found else Exit.INCOMPLETE


def _print_keys(searched: Iterable[SearchedRun]) -> int:
    """Print keys for a list. Raises JobError if a list cannot have one of them as it is."""
    found, unfit, without = 0, list[str](), 0
    for run in searched:
        for row in run.rows:
            if row.key is None:
                without += 1
            elif sanitized(row.key) != row.key or len(row.key) >= MAX_KEY:
                unfit.append(f"{run.directory}: row {row.row}")
            else:
                found += 1
                say(row.key)
                if stdout_lost_its_reader():
                    return Exit.DONE
        _warn(run)
    if without:
        say(f"warning: {without:,} rows have no key, and are not in this list", err=True)
    if unfit:
        raise JobError(
            f"the keys of {len(unfit):,} rows are too long for a line, or contain characters that cannot be "
            f"printed ({_some(unfit)}). The list lacks them: take them from the input."
        )
    return Exit.DONE if found else Exit.INCOMPLETE


def _some(rows: Sequence[str]) -> str:
    return ", ".join(rows[:5]) + (", …" if len(rows) > 5 else "")


def _warn(run: SearchedRun) -> None:
    """Say which people of a run cannot be found yet."""
    if run.undetermined:
        say(
            f"warning: {run.directory}: {run.undetermined:,} rows were sent and have no outcome yet. They "
            "are not found. When the run is complete, they are",
            err=True,
        )
    elif run.left:
        say(
            f"note: {run.directory}: {run.left:,} rows of its input have no outcome yet; of these, only "
            f"requests in flight can be found. It matches people by {run.matched_by}",
            err=True,
        )


_STAGES = {
    Stage.IN_FLIGHT: "in flight, without an outcome yet",
    Stage.INTERRUPTED: "was in flight when the run stopped: it may have been engaged. Resuming settles it",
    Stage.PENDING: "is sent again by retry; its previous outcome:",
}


def _line(run: SearchedRun, found: FoundRow) -> str:
    """One row as one line, without what controls a terminal."""
    parts = [f"{run.directory}: row {found.row}, {found.key or 'without a key'}:"]
    parts.append(_STAGES.get(found.stage, ""))
    if (result := found.result) is not None:
        parts.append(f"{result.status}, {result.finished_at}")
        if result.error not in (None, 0):
            parts.append(f"· {result.error}: {result.error_text}")
        if result.duplicate:
            parts.append("· marked as a repeat")
        if result.reference:
            parts.append(f"· reference {result.reference}")
        if result.request_id:
            parts.append(f"· Request-ID {result.request_id}")
    if is_sandbox(run.endpoint):
        parts.append(f"({NOBODY})")
    return _shown(" ".join(filter(None, parts)))


def _shown(text: str) -> str:
    return sanitized(Secret.redact_all(text), " ")
