"""`status`: the state of a run, or of all runs beneath a folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import click

import engager
from engager import Exit, SenderState
from engager.cli.ending import exit_with
from engager.cli.options import SET, output_format
from engager.cli.streams import echo_json, say
from engager.config.as_json import as_json
from engager.config.sanitize import sanitized
from engager.config.secret import Secret
from engager.output.next_steps import next_steps
from engager.output.notification import lines_to_do
from engager.output.text import (
    NOBODY,
    destination,
    duration,
    is_sandbox,
    left_until,
    per_second,
    plural,
    sender_line,
    share,
    waits_text,
)
from engager.store.status import existing_run


@click.command("status", short_help="Show the counts and state of a run, or of all runs.")
@click.argument("run_path", metavar="[RUN]", type=click.Path(path_type=Path), default=".")
@click.option(
    "--follow",
    is_flag=True,
    help="Print a line whenever the state changes, until the run ends; end with its exit code.",
)
@click.option(
    "--tasks",
    "asks_for_tasks",
    is_flag=True,
    help="Also ask the endpoint how far the tasks are that have the accepted rows.",
)
@SET
@output_format
def status_command(
    run_path: Path, follow: bool, asks_for_tasks: bool, overrides: tuple[str, ...], output: str
) -> NoReturn:
    """Show the state of a run and its outcomes so far, also while it runs or after a crash.

    Of a folder, by default the current one, show all runs beneath it in a table. Only --tasks sends requests:
    to the endpoint of the run's job, which --set can change.
    """
    if overrides and not asks_for_tasks:
        raise click.UsageError("--set changes the job that --tasks asks with, and --tasks is not given")
    if follow and asks_for_tasks:
        raise click.UsageError("--follow and --tasks cannot be combined")

    def show() -> int:
        if follow:
            return _follow(run_path, output)
        if not asks_for_tasks and not (run_path / "run.json").exists():
            states = engager.runs(run_path)
            if states[0]["directory"] != str(run_path):  # else a run has just begun there
                return _show_all(states, output)
        return _show_one(run_path, asks_for_tasks, overrides, output)

    exit_with(show)


def _show_one(run_path: Path, asks_for_tasks: bool, overrides: tuple[str, ...], output: str) -> int:
    seen = engager.status(run_path)
    if output == "text":
        say(_text(seen), wrap=True)
    if asks_for_tasks:
        seen["tasks"] = engager.tasks(run_path, overrides=overrides)
    if output == "json":
        _echo(seen)
    elif asks_for_tasks:
        say(_table(seen["tasks"]))
    return Exit.DONE


def _echo(document: Any, *, indented: bool = True) -> None:
    echo_json(Secret.redact_all(as_json(document, indented=indented).decode()).encode())


def _follow(run_path: Path, output: str) -> int:
    """Print each state on a line; returns the exit code of the run."""
    seen: dict[str, Any] = {}
    for seen in engager.follow(run_path):
        if output == "json":
            _echo(seen, indented=False)
        elif seen["state"] == "running":
            waits = [] if seen["holders"] else _waits(seen)  # the head names the holders of a pause
            say(_shown("; ".join(filter(None, [_head(seen), _progress(seen), *waits]))))
        else:
            say(_text(seen), wrap=True)
    code: int | None = seen["exit_code"]
    return Exit.INTERNAL if code is None else code


def _head(seen: Mapping[str, Any]) -> str:
    """The state of a run on one line."""
    counts = [f"{count:,} {status}" for status, count in seen["statuses"].items() if count]
    of = f" of {seen['total']:,} ({share(seen['rows'], seen['total'])})" if seen["total"] else ""
    return f"{_state(seen)}: {plural(seen['rows'], 'row')} settled{of}: {', '.join(counts) or 'none'}"


def _progress(seen: Mapping[str, Any]) -> str:
    """The pace of a run in progress and when it ends, as far as it says so."""
    if seen["requests_per_second"] is None:
        return ""
    limit = "" if seen["rate"] is None else f" (limit {seen['rate']:,g})"
    age = seen["oldest_in_flight_seconds"]
    parts = [
        f"{per_second(seen['requests_per_second'])} requests/s{limit}",
        f"{plural(seen['in_flight'], 'request')} in flight" + (f" (oldest {duration(age)})" if age else ""),
    ]
    if seen["eta_seconds"] is not None and not (_waits(seen) or seen["stopping"]):
        parts.append(left_until(seen["eta_seconds"], time.time()))
    return ", ".join(parts)


def _waits(seen: Mapping[str, Any]) -> list[str]:
    """Why no request leaves."""
    stopping = seen["stopped"] if seen["stopping"] else None
    return waits_text(stopping, seen["stops_within_seconds"], seen["holders"] or {}, seen["waits_for"])


def _state(seen: Mapping[str, Any]) -> str:
    if seen["stopping"]:
        return "stopping"
    holders = [f"{holder}{why and f' ({why})'}" for holder, why in (seen["holders"] or {}).items()]
    return f"{seen['state']}, paused by {' and '.join(holders)}" if holders else str(seen["state"])


def _text(seen: Mapping[str, Any]) -> str:
    running = seen["state"] == "running"
    where = destination(seen["endpoint"], seen["scenario"])
    lines = [_head(seen), f"  {seen['job']}: to {where}"]
    if running:
        lines += [f"  {line}" for line in [_progress(seen), *_waits(seen)] if line]
    if seen["requests"]:
        lines.append(f"  {plural(seen['requests'], 'request was', 'requests were')} sent")
    lines += [f"  {sender_line(SenderState(**sender))}" for sender in seen["senders"] or ()]
    if seen["open"]:
        where = "in flight, or between two attempts"
        if not running:
            where = f"{'was' if seen['open'] == 1 else 'were'} {where}; the run resumes with them"
        lines.append(f"  {plural(seen['open'], 'row')} {where}")
    if seen["unwritten"]:
        later = "the errors below do not include them yet"
        unwritten = plural(seen["unwritten"], "settled row is", "settled rows are")
        lines.append(f"  {unwritten} not in the result files yet; {later}")
    if seen["pending_retry"]:
        lines.append(f"  {seen['pending_retry']:,} wait for a retry")
    if why := _why_stopped(seen):
        lines.append(f"  stopped: {why}")
    if seen["given_up"]:
        lines.append("  it was given up: --give-up")
    lines += [f"  {error['rows']:,} {error['status']}: {error['error']}" for error in seen["errors"][:10]]
    lines += _what_next(seen)
    return "\n".join(map(_shown, lines))


def _why_stopped(seen: Mapping[str, Any]) -> str:
    """Why a run is stopped; empty of any other run."""
    at_limit = "--limit" if seen["exit_code"] in (Exit.DONE, Exit.INCOMPLETE) else ""
    return (seen["stopped"] or at_limit) if seen["state"] == "stopped" else ""


def _what_next(seen: Mapping[str, Any]) -> Iterator[str]:
    """What to do about a run that is not in progress."""
    if seen["resume_command"]:
        yield from ("resume with:", f"  {seen['resume_command']}")
    elif _is_for_program(seen):
        yield "a program began this run: start that program again, with the same rows, and it resumes"
    if seen["state"] == "complete":
        yield from lines_to_do(next_steps(existing_run(Path(seen["directory"])), seen))


def _is_for_program(seen: Mapping[str, Any]) -> bool:
    """Whether only the program that began a run can resume it."""
    return seen["state"] == "stopped" and seen["resume_command"] is None and not seen["given_up"]


def _shown(line: str) -> str:
    return sanitized(line, " ")  # another user may have written the run


#: The columns of the table of runs, and whether they are numbers.
_OF_RUNS = {"run": False, "state": False, "rows": True, "of": True, "": True, "exit": True, "age": True}


def _show_all(states: Sequence[Mapping[str, Any]], output: str) -> int:
    if output == "json":
        _echo(states)
    else:
        say(_aligned({**_OF_RUNS, "outcomes, and why it stopped": False}, map(_of_run, states)))
    return Exit.DONE


def _of_run(seen: Mapping[str, Any]) -> Sequence[str]:
    """The cells of one run."""
    if seen["state"] == "unreadable":
        return [_cleaned(seen["directory"]), seen["state"], "", "", "", "", "", _cleaned(seen["stopped"])]
    counts = [f"{count:,} {status}" for status, count in seen["statuses"].items() if count]
    by_program = "its program resumes it" if _is_for_program(seen) else ""
    rehearsal = NOBODY if is_sandbox(seen["endpoint"]) else ""
    waits = _waits(seen) if seen["state"] == "running" else []
    state = "given up" if seen["given_up"] else _state(seen).partition(",")[0]
    cells = [
        seen["directory"],
        "paused" if seen["holders"] else state,
        f"{seen['rows']:,}",
        "?" if seen["total"] is None else f"{seen['total']:,}",
        share(seen["rows"], seen["total"]) if seen["total"] else "",
        "" if seen["exit_code"] is None else str(seen["exit_code"]),
        duration(max(0.0, time.time() - datetime.fromisoformat(seen["started_at"]).timestamp())),
        "; ".join(filter(None, [", ".join(counts), rehearsal, *waits, _why_stopped(seen), by_program])),
    ]
    return list(map(_cleaned, cells))


#: The columns of the table of tasks, and whether they are numbers.
_COLUMNS = {"task": False, "rows": True, "progress": True, "errors": True, "total": True, "status": False}


def _table(tasks: Sequence[Mapping[str, Any]]) -> str:
    if not tasks:
        return "tasks: none, as no accepted row has the id of a task"
    return _aligned(_COLUMNS, ([_cell(task, name) for name in _COLUMNS] for task in tasks))


def _aligned(columns: Mapping[str, bool], rows: Iterable[Sequence[str]]) -> str:
    """A table; `columns` says which are numbers."""
    lines = [list(columns), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(line, widths, columns.values(), strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(task: Mapping[str, Any], name: str) -> str:
    """A cell of the table of tasks."""
    value = task[name]
    if name == "status" and value is None:
        value = task["problem"]
    text = f"{value:,}" if name in ("rows", "errors", "total") and value is not None else str(value)
    return "–" if value is None else _cleaned(text)


def _cleaned(text: str) -> str:
    """A text as one line without secrets and without what controls a terminal."""
    return " ".join(sanitized(Secret.redact_all(text), " ").split())
