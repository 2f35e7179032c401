"""`check`: a look at the job and every row."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

import engager
from engager import Exit, Findings
from engager.cli.ending import exit_with
from engager.cli.options import of_a_job


@click.command("check")
@of_a_job
@click.option("--samples", type=click.IntRange(min=0), default=3, show_default=True, metavar="N")
def check_command(
    job: Path, input_path: str | None, overrides: tuple[str, ...], limit: int | None, samples: int
) -> NoReturn:
    """Read the job and every row, show sample requests; sends nothing."""

    def look() -> int:
        job_file = engager.load_job(job, overrides)
        findings = engager.check(job_file, input=input_path, samples=samples, limit=limit)
        for warning in findings.warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo(_found(findings))
        return Exit.DONE if findings.sendable == findings.rows else Exit.INCOMPLETE

    exit_with(look)


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
