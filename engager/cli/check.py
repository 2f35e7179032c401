"""`check`: validation of the job and every row."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import click

import engager
from engager import Exit, Findings
from engager.cli.ending import exit_with
from engager.cli.options import no_progress, of_a_job, output_format
from engager.cli.streams import echo_json, say
from engager.config.as_json import as_json
from engager.config.job_sections import Job
from engager.config.method_rules import people_at_rate
from engager.config.sanitize import sanitized
from engager.output.progress import CheckProgress
from engager.output.text import duration, plural
from engager.run.destination import destination_of
from engager.run.dry_run import worth_of_directory


@click.command("check", short_help="Validate the job and every row; send nothing.")
@of_a_job
@click.option(
    "--samples",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    metavar="N",
    help="How many sample requests to print.",
)
@no_progress
@output_format
def check_command(
    job: Path,
    input_path: str | None,
    overrides: tuple[str, ...],
    limit: int | None,
    samples: int,
    no_progress: bool,
    output: str,
) -> NoReturn:
    """Read the job and every row, and print sample requests. Sends nothing."""

    def validate() -> int:
        job_file = engager.load_job(job, overrides)
        shows = output == "text" and not no_progress and sys.stderr.isatty()
        with CheckProgress() if shows else nullcontext() as show:
            findings = engager.check(job_file, input=input_path, samples=samples, limit=limit, show=show)
        for warning in findings.warnings:
            say(f"warning: {sanitized(warning, ' ')}", err=True)
        if output == "json":
            echo_json(as_json(findings.as_dict(), indented=True))
        else:
            if job_file.profile is not None:
                say(sanitized(f"Profile {job_file.profile}: a run {destination_of(job_file)}.", " "))
            say(_text(findings, job_file.job))
            say(worth_of_directory(job_file.job, time.time()))
        return Exit.INCOMPLETE if findings.invalid else Exit.DONE

    exit_with(validate)


def _text(findings: Findings, job: Job) -> str:
    samples = [f"{sample}\n" for sample in findings.samples]
    lines = []
    counts = [f"{findings.sendable:,} can be sent", f"{findings.invalid.total():,} are invalid"]
    if skipped := findings.skipped.total():
        rules = ", ".join(f"{rows:,} {rule}" for rule, rows in findings.skipped.most_common())
        counts.append(f"{skipped:,} are skipped ({rules})")
    lines.append(f"{plural(findings.rows, 'row')}: {', '.join(counts)}. Nothing was sent.")
    lines += [
        f"  {count:,} {wrong[0]}{_in_column(wrong[1])}, the first: {findings.examples[wrong]}"
        for wrong, count in findings.invalid.most_common()
    ]
    if findings.repeats:
        fate = "these are skipped" if job.input.unique else "input.unique = true skips these"
        lines.append(f"  {findings.repeats:,} of all rows have a key that an earlier row has; {fate}:")
        lines += [f"    {row}" for row in findings.repeated]
    lines += [
        f"  {found['name']}: {found['keys']:,} keys, {found['rows']:,} rows skipped"
        for found in findings.lists
    ]
    lines.append(_duration(findings.seconds, job))
    lines += filter(None, [people_at_rate(job)])
    if findings.ends_at is not None:
        openings = f" in {findings.openings} openings of the sending window" if findings.openings != 1 else ""
        lines.append(f"A run that starts now ends {findings.ends_at}{openings}.")
    # A line end in a value of a row or in the name of a file must not begin a line of its own.
    return "\n".join([*samples, *(sanitized(line, " ") for line in lines)])


def _in_column(column: str | None) -> str:
    """The column with the error, if it is in one."""
    return "" if column is None else f" in column {column!r}"


def _duration(seconds: float | None, job: Job) -> str:
    rate = job.limits.rate
    if seconds is None:
        why = "limits.rate is not set" if rate is None else f'limits.rate is "{rate}"'
        return f"The duration of a run depends on the endpoint: {why}."
    each = "request" if job.method.is_batch else "row"
    return f"A run takes {duration(seconds)} at {rate:g} requests per second and one attempt per {each}."
