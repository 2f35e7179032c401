"""`run` and `retry`: the commands that send."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NoReturn

import click

import engager
from engager import AlreadyComplete, Began, Control, Ended, Event, Exit, Reported, Serving, Status, Summary
from engager.cli.ending import exit_with
from engager.cli.options import SET, complete_path, of_a_job, of_a_sending, output_format
from engager.cli.streams import echo_json, fault_of_stdout, in_background, say, stderr_is_behind
from engager.config.as_json import as_json
from engager.config.log import log
from engager.config.sanitize import sanitized
from engager.errors import InputError
from engager.models import TAKEN
from engager.output.logs import EventLog, LogFormat, log_to_stderr
from engager.output.next_steps import steps_after
from engager.output.notification import lines_to_do
from engager.output.progress import Progress
from engager.output.text import destination, plural
from engager.run.monitor import tolerated
from engager.run.operator.signals import stopped_by_signals
from engager.sending import loop
from engager.store.status import existing_run

#: Number of rows that are printed if a run stops after a stated row.
SHOWN_ROWS = 20


@click.command("run", short_help="Send; resume an interrupted run.")
@of_a_job
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Run directory; may contain {date}, {time}, {datetime}. Default: runs/<job name> beside JOB.",
)
@click.option(
    "--after",
    multiple=True,
    metavar="RUN",
    shell_complete=complete_path,
    help="Skip the people that this earlier run engaged, accepted or left in doubt; repeatable.",
)
@click.option(
    "--give-up",
    "given_up",
    multiple=True,
    metavar="RUN",
    shell_complete=complete_path,
    help="Never finish this earlier run of the job, so that another input can be sent; repeatable.",
)
@of_a_sending
@output_format
@click.option("--yes", is_flag=True, help="Confirm sending to all rows, also after limits.confirm_above.")
def run_command(
    job: Path,
    input_path: str | None,
    overrides: tuple[str, ...],
    limit: int | None,
    out: Path | None,
    after: tuple[str, ...],
    given_up: tuple[str, ...],
    no_progress: bool,
    quiet: bool,
    log_format: LogFormat,
    page: str | None,
    new_address: bool,
    output: str,
    yes: bool,
) -> NoReturn:
    """Send one request per row and store every outcome in the run directory.

    The same command resumes an interrupted run; a complete run sends nothing.
    """
    options = _OutputOptions(no_progress, quiet, log_format, output == "json")

    def carry_out() -> int:
        job_file = engager.load_job(job, overrides)
        send = partial(
            engager.run_async,
            job_file,
            out=out,
            input=input_path,
            limit=limit,
            after=after,
            give_up=given_up,
            new_address=new_address,
            page=page,
        )
        sent = _sent(partial(send, yes=yes), options)
        last = sent.last
        if isinstance(last, Ended) and last.unconfirmed and _at_terminal():
            if _consents():
                sent = _sent(partial(send, yes=True), options)
            else:
                _print_how_to_confirm(last)
        return _concluded(sent, options)

    exit_with(carry_out, log_format)


@click.command("retry", short_help="Send failed rows again.")
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--in-doubt", is_flag=True, help="Also send in-doubt rows again: a person may get a second message."
)
@click.option(
    "--keys",
    "keys_file",
    type=click.File("rb"),
    metavar="FILE",
    help="With --in-doubt: only those whose key is in this file, one per line; - is stdin. The others stay.",
)
@SET
@of_a_sending
@output_format
def retry_command(
    run_path: Path,
    in_doubt: bool,
    keys_file: BinaryIO | None,
    overrides: tuple[str, ...],
    no_progress: bool,
    quiet: bool,
    log_format: LogFormat,
    page: str | None,
    new_address: bool,
    output: str,
) -> NoReturn:
    """Send the failed rows of a complete run again; their previous outcomes stay in numbered files."""
    if keys_file is not None and not in_doubt:
        raise click.UsageError("--keys chooses among the in-doubt rows: give --in-doubt too")
    options = _OutputOptions(no_progress, quiet, log_format, output == "json")

    def carry_out() -> int:
        send = partial(
            engager.retry_async,
            run_path,
            in_doubt=in_doubt,
            keys=None if keys_file is None else _lines_of(keys_file),
            new_address=new_address,
            overrides=overrides,
            page=page,
        )
        return _concluded(_sent(send, options), options)

    exit_with(carry_out, log_format)


def _lines_of(file: BinaryIO) -> list[str]:
    try:
        return file.read().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise InputError("--keys: the list is not UTF-8. Convert it.") from None


@dataclass(frozen=True, slots=True)
class _OutputOptions:
    """What a run prints."""

    no_progress: bool
    quiet: bool
    log_format: LogFormat
    as_json: bool  #: stdout has the summary as JSON, and nothing else


@dataclass(frozen=True, slots=True)
class _Sent:
    """How a start ended."""

    code: int
    last: Ended | AlreadyComplete | None  #: with the summary; None if there is none


def _concluded(sent: _Sent, options: _OutputOptions) -> int:
    """Print the summary as JSON where that is asked for; returns the exit code."""
    if options.as_json and sent.last is not None:
        with _stdout_failure_is_a_warning():
            document = {**sent.last.summary.as_dict(), "directory": str(sent.last.directory)}
            echo_json(as_json(document, indented=True))
    return sent.code


def _consents() -> bool:
    try:
        return click.confirm("Send the rest too?", err=True)
    except click.Abort:
        return False


def _at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _sent(send: Callable[..., Awaitable[Summary]], options: _OutputOptions) -> _Sent:
    """Run and report."""
    log_to_stderr(options.log_format, options.quiet)
    with _stdout_failure_is_a_warning():
        return loop.run(_carried_out(send, options))


@contextmanager
def _stdout_failure_is_a_warning() -> Iterator[None]:
    """Warn if stdout fails: the exit code is for the outcomes of the rows."""
    try:
        with in_background():
            yield
    finally:
        if fault := fault_of_stdout():
            log.warning("stdout: %s. The run directory has everything that was to be printed.", fault)


async def _carried_out(send: Callable[..., Awaitable[Summary]], options: _OutputOptions) -> _Sent:
    """Run with signal handling and progress."""
    control, in_words = Control(), options.log_format == "text"
    show = Progress(in_words and not (options.no_progress or options.quiet), stderr_is_behind)
    shown = [tolerated(show), tolerated(partial(_report, options=options, in_words=in_words))]
    if not in_words:
        shown.insert(1, tolerated(EventLog(logging.getLogger().handle)))
    code: int | None = None
    last: Ended | AlreadyComplete | None = None

    def watch(event: Event) -> None:
        nonlocal last
        last = event if isinstance(event, Ended | AlreadyComplete) else last
        for show_event in shown:
            show_event(event)

    say = show.show if in_words else log.warning
    async with stopped_by_signals(control, say):
        with show:
            code = (await send(watch=watch, control=control, log_format=options.log_format)).exit_code
    if code is None:  # the second signal came before the run could end in good order
        code = last.summary.exit_code if last else int(control.stop.exit or Exit.INTERNAL)
    return _Sent(code, last)


def _report(event: Event, options: _OutputOptions, in_words: bool) -> None:
    """Print an event as text; with JSON logs, only the summary."""
    if isinstance(event, Began):
        loop.collect_rarely()
    if in_words:
        _print_event(event, options)
    if isinstance(event, AlreadyComplete | Ended) and not options.as_json:
        if isinstance(event, Ended) and event.last_row is not None and not options.quiet:
            _show_rows(event.directory, event.last_row)
        _print_summary(event.summary, event.directory, options.quiet)
    if in_words and isinstance(event, Ended):
        _print_how_to_resume(event)
    if isinstance(event, Reported) and not (options.quiet or options.as_json):
        command = shlex.join(["engager", "report", str(event.directory)])
        say(f"report: {event.page}" if event.page else f"report: write it with {command}")


def _print_event(event: Event, options: _OutputOptions) -> None:
    quiet = options.quiet
    if isinstance(event, Began):
        if sys.stderr.isatty() and not (quiet or options.no_progress):
            where = destination(event.endpoint, event.scenario)
            say(sanitized(f"{event.job}: sends to {where}", " "), err=True, wrap=True)
        for warning in event.warnings:
            say(f"warning: {sanitized(warning, ' ')}", err=True)
        for note in () if quiet else event.notes:
            say(sanitized(note, " "), err=True)
    elif isinstance(event, Serving):
        say(f"live page: {event.url} (this address opens once)", err=True)
    elif isinstance(event, AlreadyComplete) and not quiet:
        say(f"{event.directory}: {event.reason}; nothing was sent.", err=True)


def _print_summary(summary: Summary, directory: Path, quiet: bool) -> None:
    if quiet:
        return
    counts = [f"{count:,} {status}" for status, count in summary.statuses.items() if count]
    requests = f"{plural(summary.requests, 'request was', 'requests were')} sent"
    to = f" to {destination(summary.endpoint, summary.scenario)}" if summary.endpoint else ""
    if summary.complete and not summary.rows:
        say("0 rows: the input has none, and nothing was sent")
    else:
        rows = f"{plural(summary.rows, 'row')}: {', '.join(counts) or 'nothing'} in {summary.duration}"
        say(f"{rows}; {requests}{to}", wrap=True)
    for error in summary.errors[:10]:
        say(f"  {error['rows']:,} {error['status']}: {error['error']}")
    rejected = any(summary.statuses[kind] for kind in (Status.REJECTED, Status.FAILED, Status.INVALID))
    say(f"results{' and rejected rows' if rejected else ''}: {directory}")
    if summary.complete:
        for line in lines_to_do(steps_after(existing_run(directory), summary)):
            say(line, wrap=True)


def _show_rows(directory: Path, last_row: int) -> None:
    """Print the last rows before a limit, for a person who decides on the rest."""
    first = last_row - SHOWN_ROWS + 1
    latest = engager.outcomes(directory, latest=True)
    rows = {found.row: found for found in latest if first <= found.row <= last_row}
    for row in sorted(rows):
        found = rows[row]
        text = f"{found.error}: {found.error_text}" if found.status not in TAKEN else found.reference or ""
        line = f"row {row:<6} {found.status:<9} {found.key or ''} {text}".rstrip()
        # The content of a row or a response must not control the terminal.
        say(line)


def _print_how_to_resume(ended: Ended) -> None:
    summary = ended.summary
    if summary.complete:
        return
    if ended.unconfirmed:
        if not _at_terminal():  # else it is asked first
            _print_how_to_confirm(ended)
    elif ended.last_row is not None and not summary.stopped:
        say("the same command without --limit, or with a larger one, continues after these rows", err=True)
    else:
        why = f"stopped: {summary.stopped}\n" if summary.stopped else ""
        after = "The"
        if summary.exit_code == Exit.WRONG:
            after = "Fix this first. The"
        elif summary.exit_code in (Exit.STOPPED, Exit.INTERNAL):
            after = "Once the reason is gone, the"
        say(
            f"{why}{ended.directory} is not complete. {after} same command resumes it:\n  {_again()}",
            err=True,
            wrap=True,
        )


def _print_how_to_confirm(ended: Ended) -> None:
    advice = f"stopped: {ended.summary.stopped}. Check the outcomes of these rows; this sends the rest:"
    say(f"{advice}\n  {_again('--yes')}", err=True, wrap=True)


def _again(*more: str) -> str:
    return shlex.join(["engager", *sys.argv[1:], *more])
