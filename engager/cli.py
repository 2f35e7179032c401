"""Commands, signals, exit codes; no logic. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import anyio
import click
import orjson

from engager import __version__
from engager.checking import Findings, check
from engager.dispatch.limits import Stop
from engager.errors import EngagerError, Exit, JobError
from engager.job import JobFile
from engager.ledger.account import existing_run, look
from engager.logs import log_to
from engager.model import Status
from engager.progress import show
from engager.run import Run, prepare, send
from engager.sandbox import Sandbox, SandboxConfig
from engager.sandbox.command import sandbox_config
from engager.secret import Secret


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Engage every person of a file in an Altcraft automation scenario."""


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """The parameters of every command that reads a job and its input."""
    for parameter in (
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows."),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            help="Replace a value of the job.",
        ),
        click.option("--input", "input_path", metavar="PATH", help='Another input; "-" is stdin.'),
        click.argument("job", type=click.Path(path_type=Path)),
    ):
        command = parameter(command)
    return command


def _manner(command: Callable[..., Any]) -> Callable[..., Any]:
    """The parameters of every command that sends."""
    for parameter in (
        click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True),
        click.option("--quiet", is_flag=True, help="Nothing but errors on stderr, no summary."),
        click.option("--no-progress", is_flag=True, help="Show no progress."),
    ):
        command = parameter(command)
    return command


@main.command("run")
@_shared
@click.option("--out", type=click.Path(path_type=Path), help="The run directory; default runs/<job name>.")
@_manner
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

    _exit_with(carry_out)


@main.command("retry")
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--in-doubt", is_flag=True, help="Also rows that may have been engaged.")
@_manner
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

    _exit_with(carry_out)


@main.command("status")
@click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status_command(run_path: Path, output: str) -> NoReturn:
    """What became of the rows of a run so far, also while it runs or after a crash."""

    def tell() -> int:
        seen = look(existing_run(run_path))
        as_json = orjson.dumps(seen, option=orjson.OPT_INDENT_2).decode()
        click.echo(as_json if output == "json" else _seen(seen))
        return Exit.DONE

    _exit_with(tell)


def _seen(seen: dict[str, Any]) -> str:
    running = seen["state"] == "running"
    counts = [f"{count:,} {status}" for status, count in seen["statuses"].items() if count]
    lines = [f"{seen['state']}: {seen['rows']:,} rows settled ({', '.join(counts) or 'none'})"]
    if seen["open"]:
        held = "in flight" if running else "were in flight; they are settled when the run goes on"
        lines.append(f"  {seen['open']:,} {held}")
    if seen["to_be_tried_again"]:
        lines.append(f"  {seen['to_be_tried_again']:,} to be tried again")
    if seen["stopped"] and not running:
        lines.append(f"  stopped: {seen['stopped']}")
    lines += [f"  {error['rows']:,} {error['status']}: {error['error']}" for error in seen["errors"][:10]]
    return "\n".join(lines)


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
            watchers.start_soon(show, run.recorder.tally)
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


@main.command("check")
@_shared
@click.option("--samples", type=click.IntRange(min=0), default=3, show_default=True, metavar="N")
def check_command(
    job: Path, input_path: str | None, overrides: tuple[str, ...], limit: int | None, samples: int
) -> NoReturn:
    """Read the job and every row, show sample requests; sends nothing."""

    def look() -> int:
        job_file = JobFile(job, overrides)
        findings = check(job_file, input_path, samples, limit)
        for warning in findings.warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo(_found(findings))
        return Exit.DONE if findings.sendable == findings.rows else Exit.INCOMPLETE

    _exit_with(look)


def _found(findings: Findings) -> str:
    lines = [f"{sample}\n" for sample in findings.samples]
    lines.append(
        f"{findings.rows:,} rows: {findings.sendable:,} would be sent, "
        f"{findings.rows - findings.sendable:,} are invalid. Nothing was sent."
    )
    lines += [
        f"  {count:,} {error}, the first: {findings.examples[error]}"
        for error, count in findings.invalid.most_common()
    ]
    return "\n".join(lines)


@main.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 = any free one."
)
@click.option("--token", "tokens", multiple=True, help="A token that is taken; else every one.")
@click.option("--scenario", "scenarios", type=int, multiple=True, help="A scenario that exists; else all do.")
@click.option("--profiles", type=click.Path(path_type=Path), help="JSONL of profiles; else all exist.")
@click.option("--fault", "faults", multiple=True, metavar="NAME=SHARE", help="A fault and its share.")
@click.option("--assume", multiple=True, metavar="NAME=VALUE", help="Switch an assumption.")
@click.option("--retry-after", help="Of 429 and 503: seconds, or an HTTP date.")
@click.option("--latency", default="0s", show_default=True, metavar="20ms|20-80ms")
@click.option("--tariff-limit", type=click.IntRange(min=0), help="Engagements until 402.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--log", "log_file", help="Append a line of JSON for every request to this file.")
def sandbox_command(host: str, port: int, **settings: Any) -> NoReturn:
    """Serve the contract's endpoint on this machine, with faults on demand."""

    def serve() -> int:
        try:
            config = sandbox_config(**settings)
        except (ValueError, OSError) as fault:
            raise JobError(str(fault)) from fault
        anyio.run(_serve, config, host, port)
        return Exit.DONE

    _exit_with(serve)


async def _serve(config: SandboxConfig, host: str, port: int) -> None:
    async with Sandbox(config, host, port) as sandbox:
        click.echo(f"sandbox listening on {sandbox.url}")
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                return


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
    return f"{why}{directory} is not complete. The same command goes on:\n  {again}"


def _exit_with(action: Callable[[], int]) -> NoReturn:
    """Carry a command out; an error becomes its text and its exit code."""
    try:
        code = action()
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except Exception as fault:
        code = _fault_told(fault)
    sys.stdout.flush()
    sys.stderr.flush()
    if threading.active_count() > 1:
        # One may wait for an input that stands still, and would hold the process up with it.
        logging.shutdown()
        os._exit(code)
    sys.exit(code)


def _fault_told(fault: BaseException) -> int:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    if isinstance(fault, EngagerError):
        click.echo(Secret.redact_all(f"error: {fault}"), err=True)
        return int(fault.exit)
    if told := _of_the_machine(fault):
        click.echo(Secret.redact_all(f"error: {told}"), err=True)
        return int(Exit.INTERNAL)
    click.echo(Secret.redact_all("".join(traceback.format_exception(fault))), err=True)
    click.echo("error: this is a fault of engager's own; what was written so far stands.", err=True)
    return int(Exit.INTERNAL)


def _of_the_machine(fault: BaseException) -> str | None:
    """The text of a fault that the machine is to blame for; None for any other."""
    if isinstance(fault, OSError):
        what = ": ".join(str(part) for part in (fault.filename, fault.strerror or fault) if part)
    elif isinstance(fault, MemoryError) or str(fault) == "can't start new thread":
        what = "this machine has no memory left for engager"
    else:
        return None
    return f"{what}. What was written so far stands: mend it, and run the same command again."
