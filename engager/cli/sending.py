"""`run` and `retry`: what sends."""

from __future__ import annotations

import gc
import shlex
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import anyio
import click

from engager.cli.ending import exit_with
from engager.cli.options import of_a_job, of_a_sending
from engager.dispatch.limits import Stop
from engager.errors import Exit
from engager.job import JobFile
from engager.ledger.account import existing_run
from engager.logs import log_to
from engager.model import Status
from engager.preparing import Run, prepare
from engager.progress import show
from engager.run import send


@click.command("run")
@of_a_job
@click.option("--out", type=click.Path(path_type=Path), help="The run directory; default runs/<job name>.")
@of_a_sending
@click.option("--yes", is_flag=True, help="Answer every question with yes.")
def run_command(
    job: Path,
    input_path: str | None,
    overrides: tuple[str, ...],
    limit: int | None,
    out: Path | None,
    no_progress: bool,
    quiet: bool,
    log_format: str,
    yes: bool,
) -> NoReturn:
    """Send: one request a row, every outcome in the run directory."""
    _ = yes

    def carry_out() -> int:
        job_file = JobFile(job, overrides)
        directory = out or Path("runs") / job_file.job.job.name
        run = prepare(job_file, directory, input_path)
        if isinstance(run, dict):
            click.echo(
                f"{directory}: this run is complete; nothing was sent. A new run needs a new --out.", err=True
            )
            return _told(run, directory, quiet)
        return _sent(run, limit, _Manner(no_progress, quiet, log_format))

    exit_with(carry_out)


@click.command("retry")
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--in-doubt", is_flag=True, help="Also rows that may have been engaged.")
@of_a_sending
def retry_command(
    run_path: Path, in_doubt: bool, no_progress: bool, quiet: bool, log_format: str
) -> NoReturn:
    """Another pass over the rows of a run that failed; what was said of them before is set aside.

    With --in-doubt some people may get a second message.
    """

    def carry_out() -> int:
        directory = existing_run(run_path)
        asked = frozenset({Status.FAILED, Status.IN_DOUBT} if in_doubt else {Status.FAILED})
        told = directory.invocation
        run = prepare(JobFile(Path(told["job"]), told["overrides"]), run_path, told["input"], asked)
        if isinstance(run, dict):
            click.echo(f"{run_path}: no row to try again; nothing was sent.", err=True)
            return _told(run, run_path, quiet)
        return _sent(run, None, _Manner(no_progress, quiet, log_format))

    exit_with(carry_out)


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a run shows itself."""

    no_progress: bool
    quiet: bool
    log_format: str


def _sent(run: Run, limit: int | None, manner: _Manner) -> int:
    """Carry a run out and tell of it; returns its exit code."""
    log_to(run.directory.log_path, manner.log_format, run.secret, manner.quiet)
    for warning in run.builder.warnings:
        click.echo(f"warning: {warning}", err=True)
    gc.freeze()  # what is loaded by now stays: no use to look through it for every few hundred rows
    anyio.run(partial(_watched, run, limit, not (manner.no_progress or manner.quiet)))
    directory = run.directory.path
    code = _told(run.summary, directory, manner.quiet)
    if run.summary["stopped"] or (limit is None and not run.summary["complete"]):
        click.echo(_stopped(run.summary, directory), err=True)
    elif limit is not None:
        click.echo("the run goes on behind these rows without --limit, or with a larger one", err=True)
    return code


async def _watched(run: Run, limit: int | None, progress: bool) -> None:
    """Carry the run out under the eyes of its signals and its progress."""
    async with anyio.create_task_group() as watchers:
        watchers.start_soon(_obey_signals, run.stop, watchers.cancel_scope)
        if progress:
            watchers.start_soon(show, lambda: run.account.book.tally)
        await send(run, limit)
        watchers.cancel_scope.cancel()


async def _obey_signals(stop: Stop, everything: anyio.CancelScope) -> None:
    """The first signal ends the run in good order, the second one at once."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if stop.exit in (Exit.INTERRUPTED, Exit.TERMINATED):
                everything.cancel()
                return
            name = signal.Signals(number).name
            stop.request(Exit(128 + number), f"interrupted by {name}")
            click.echo(f"{name}: finishing what is in flight; once more to stop now.", err=True)


def _told(summary: dict[str, Any], directory: Path, quiet: bool) -> int:
    """Show a summary; returns its exit code."""
    if not quiet:
        counts = [f"{count:,} {status}" for status, count in summary["statuses"].items() if count]
        click.echo(
            f"{summary['rows']:,} rows: {', '.join(counts) or 'nothing'} in {summary['seconds']:.1f} s"
        )
        for error in summary["errors"][:10]:
            click.echo(f"  {error['rows']:,} {error['status']}: {error['error']}")
        click.echo(f"results, and the rows to be mended: {directory}")
    return int(summary["exit_code"])


def _stopped(summary: dict[str, Any], directory: Path) -> str:
    again = shlex.join(["engager", *sys.argv[1:]])
    why = f"stopped: {summary['stopped']}\n" if summary["stopped"] else ""
    mended = "Once that is mended, the" if summary["exit_code"] == Exit.WRONG else "The"
    return f"{why}{directory} is not complete. {mended} same command goes on:\n  {again}"
