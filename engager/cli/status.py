"""`status`: the state of a run and its outcomes so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

import engager
from engager import Exit
from engager.cli.ending import exit_with
from engager.cli.options import SET, output_format
from engager.cli.streams import echo_json, say
from engager.config.as_json import as_json
from engager.config.sanitize import sanitized
from engager.config.secret import Secret


@click.command("status", short_help="Show the counts and state of a run.")
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--tasks",
    "asks_for_tasks",
    is_flag=True,
    help="Also ask the endpoint how far the tasks are that have the accepted rows.",
)
@SET
@output_format
def status_command(run_path: Path, asks_for_tasks: bool, overrides: tuple[str, ...], output: str) -> NoReturn:
    """Show the state of a run and its outcomes so far, also while it runs or after a crash.

    Only --tasks sends requests: to the endpoint of the run's job, which --set can change.
    """
    if overrides and not asks_for_tasks:
        raise click.UsageError("--set changes the job that --tasks asks with, and --tasks is not given")

    def show() -> int:
        seen = engager.status(run_path)
        if output == "text":
            say(_text(seen))
        if asks_for_tasks:
            seen["tasks"] = engager.tasks(run_path, overrides=overrides)
        if output == "json":
            echo_json(Secret.redact_all(as_json(seen, indented=True).decode()).encode())
        elif asks_for_tasks:
            say(_table(seen["tasks"]))
        return Exit.DONE

    exit_with(show)


def _text(seen: dict[str, Any]) -> str:
    running = seen["state"] == "running"
    counts = [f"{count:,} {status}" for status, count in seen["statuses"].items() if count]
    lines = [f"{seen['state']}: {seen['rows']:,} rows settled ({', '.join(counts) or 'none'})"]
    if seen["requests"]:
        lines.append(f"  {seen['requests']:,} requests were sent")
    if seen["open"]:
        where = "in flight, or between two attempts"
        lines.append(
            f"  {seen['open']:,} rows {where if running else f'were {where}; the run resumes with them'}"
        )
    if seen["unwritten"]:
        later = "the errors below do not include them yet"
        lines.append(f"  {seen['unwritten']:,} settled rows are not in the result files yet; {later}")
    if seen["pending_retry"]:
        lines.append(f"  {seen['pending_retry']:,} wait for a retry")
    if seen["stopped"] and not running:
        lines.append(f"  stopped: {seen['stopped']}")
    lines += [f"  {error['rows']:,} {error['status']}: {error['error']}" for error in seen["errors"][:10]]
    if seen["resume_command"]:
        lines += ["resume with:", f"  {seen['resume_command']}"]
    return "\n".join(sanitized(line, " ") for line in lines)  # another user may have written the run


#: The columns of the table of tasks, and whether they are numbers.
_COLUMNS = {"task": False, "rows": True, "progress": True, "errors": True, "total": True, "status": False}


def _table(tasks: Sequence[Mapping[str, Any]]) -> str:
    if not tasks:
        return "tasks: none, as no accepted row has the id of a task"
    lines = [tuple(_COLUMNS), *(tuple(_cell(task, name) for name in _COLUMNS) for task in tasks)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(line, widths, _COLUMNS.values(), strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(task: Mapping[str, Any], name: str) -> str:
    """A cell of the table, as one line without secrets and without what controls a terminal."""
    value = task[name]
    if name == "status" and value is None:
        value = task["problem"]
    text = f"{value:,}" if name in ("rows", "errors", "total") and value is not None else str(value)
    return "–" if value is None else " ".join(sanitized(Secret.redact_all(text), " ").split())
