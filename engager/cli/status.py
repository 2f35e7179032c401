"""`status`: the state of a run and its outcomes so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

import engager
from engager import Exit
from engager.cli.ending import exit_with
from engager.cli.options import output_format
from engager.cli.streams import echo_json, say
from engager.config.as_json import as_json
from engager.config.sanitize import sanitized


@click.command("status", short_help="Show the counts and state of a run.")
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@output_format
def status_command(run_path: Path, output: str) -> NoReturn:
    """Show the state of a run and its outcomes so far, also while it runs or after a crash."""

    def show() -> int:
        seen = engager.status(run_path)
        if output == "json":
            echo_json(as_json(seen, indented=True))
        else:
            say(_text(seen))
        return Exit.DONE

    exit_with(show)


def _text(seen: dict[str, Any]) -> str:
    running = seen["state"] == "running"
    counts = [f"{count:,} {status}" for status, count in seen["statuses"].items() if count]
    lines = [f"{seen['state']}: {seen['rows']:,} rows settled ({', '.join(counts) or 'none'})"]
    if seen["open"]:
        where = "in flight, or between two attempts"
        lines.append(f"  {seen['open']:,} {where if running else f'were {where}; the run resumes with them'}")
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
