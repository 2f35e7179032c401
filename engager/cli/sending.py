"""`run` and `retry`: what sends."""

from __future__ import annotations

import gc
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import anyio
import click

import engager
from engager import Began, Control, Ended, Event, Exit, Summary, Unneeded
from engager.cli.ending import exit_with
from engager.cli.options import of_a_job, of_a_sending
from engager.errors import one_at_a_time
from engager.logs import LogFormat, log_to_stderr
from engager.progress import Progress


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
    log_format: LogFormat,
    yes: bool,
) -> NoReturn:
    """Send: one request a row, every outcome in the run directory."""
    _ = yes
    manner = _Manner(no_progress, quiet, log_format, limit)

    def carry_out() -> int:
        job_file = engager.load_job(job, overrides)
        return _sent(partial(engager.run_async, job_file, out=out, input=input_path, limit=limit), manner)

    exit_with(carry_out)


@click.command("retry")
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--in-doubt", is_flag=True, help="Also rows that may have been engaged.")
@of_a_sending
def retry_command(
    run_path: Path, in_doubt: bool, no_progress: bool, quiet: bool, log_format: LogFormat
) -> NoReturn:
    """Another pass over the rows of a run that failed; what was said of them before is set aside.

    With --in-doubt some people may get a second message.
    """
    manner = _Manner(no_progress, quiet, log_format)
    exit_with(lambda: _sent(partial(engager.retry_async, run_path, in_doubt=in_doubt), manner))


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a run shows itself."""

    no_progress: bool
    quiet: bool
    log_format: LogFormat
    limit: int | None = None


def _sent(send: Callable[..., Awaitable[Summary]], manner: _Manner) -> int:
    """Carry a run out and tell of it; returns its exit code."""
    log_to_stderr(manner.log_format, manner.quiet)
    return anyio.run(_carried_out, send, manner)


async def _carried_out(send: Callable[..., Awaitable[Summary]], manner: _Manner) -> int:
    """Carry the run out under the eyes of its signals and its progress."""
    control, show = Control(), Progress(not (manner.no_progress or manner.quiet))
    code: int | None = None

    def watch(event: Event) -> None:
        show(event)
        _tell(event, manner)

    with one_at_a_time():
        async with anyio.create_task_group() as watchers:
            watchers.start_soon(_obey_signals, control, watchers.cancel_scope)
            with show:
                code = (await send(watch=watch, control=control, log_format=manner.log_format)).exit_code
            watchers.cancel_scope.cancel()
    # Without a summary the second signal came before the run could end in good order.
    return int(control.stop.exit or Exit.INTERNAL) if code is None else code


async def _obey_signals(control: Control, everything: anyio.CancelScope) -> None:
    """The first signal ends the run in good order, the second one at once."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if control.stop.exit in (Exit.INTERRUPTED, Exit.TERMINATED):
                everything.cancel()
                return
            name = signal.Signals(number).name
            control.end(f"interrupted by {name}", Exit(128 + number))
            click.echo(f"{name}: finishing what is in flight; once more to stop now.", err=True)


def _tell(event: Event, manner: _Manner) -> None:
    """Say in words what happened to the run."""
    if isinstance(event, Began):
        for warning in event.warnings:
            click.echo(f"warning: {warning}", err=True)
        gc.freeze()  # what is loaded by now stays: no use to look through it for every few hundred rows
    elif isinstance(event, Unneeded):
        click.echo(f"{event.directory}: {event.why}; nothing was sent.", err=True)
        _tell_account(event.summary, event.directory, manner.quiet)
    elif isinstance(event, Ended):
        _tell_account(event.summary, event.directory, manner.quiet)
        _tell_of_the_rest(event, manner.limit)


def _tell_account(summary: Summary, directory: Path, quiet: bool) -> None:
    if quiet:
        return
    counts = [f"{count:,} {status}" for status, count in summary.statuses.items() if count]
    click.echo(f"{summary.rows:,} rows: {', '.join(counts) or 'nothing'} in {summary.seconds:.1f} s")
    for error in summary.errors[:10]:
        click.echo(f"  {error['rows']:,} {error['status']}: {error['error']}")
    click.echo(f"results, and the rows to be mended: {directory}")


def _tell_of_the_rest(ended: Ended, limit: int | None) -> None:
    summary = ended.summary
    if limit is not None and not summary.stopped:
        click.echo("the run goes on behind these rows without --limit, or with a larger one", err=True)
    elif not summary.complete:
        again = shlex.join(["engager", *sys.argv[1:]])
        why = f"stopped: {summary.stopped}\n" if summary.stopped else ""
        mended = "Once that is mended, the" if summary.exit_code == Exit.WRONG else "The"
        click.echo(
            f"{why}{ended.directory} is not complete. {mended} same command goes on:\n  {again}", err=True
        )
