"""`init`: a job file from an input."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NoReturn

import click

from engager import Exit
from engager.altcraft.methods import METHODS, START
from engager.cli.ending import exit_with
from engager.cli.options import complete_path
from engager.cli.streams import say
from engager.config.job_sections import JobSection
from engager.errors import JobError


@click.command("init", short_help="Write a job file for an input file.")
@click.argument("input_path", metavar="INPUT", shell_complete=complete_path)
@click.option("--out", type=click.Path(path_type=Path), help="Write the job file here; default <name>.toml.")
@click.option("--name", metavar="NAME", help="Name of the job; default: the name of the input file.")
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    default=START.name,
    show_default=True,
    help="Method of the endpoint that the rows are sent to.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing job file.")
def init_command(input_path: str, out: Path | None, name: str | None, method: str, force: bool) -> NoReturn:
    """Write a job file from the header and the first rows of an input; its endpoint is the sandbox."""
    # Imported here, because no other command needs it.
    from engager.init.job_text import Draft, draft, path_from
    from engager.init.sample import read_sample

    def report(made: Draft, job: Path, called: str) -> None:
        for warning in made.warnings:
            say(f"warning: {warning}", err=True)
        guessed = f"matched by {made.key.mode}, columns in {made.place}: {made.columns}"
        say(_written(job, guessed, called, METHODS[method].scenario))

    def write() -> int:
        called = _name(name, input_path)
        job = out or Path(f"{called}.toml")
        sample = read_sample(input_path, Path.cwd())
        made = draft(sample, called, path_from(job, input_path), METHODS[method])
        _write(job, made.text, input_path, force)
        report(made, job, called)
        return Exit.DONE

    exit_with(write)


def _name(given: str | None, input_path: str) -> str:
    """The name of the job: as given, or from the name of the input."""
    if given is None:
        stem = re.sub(r"(\.(gz|zst|csv|tsv|jsonl|ndjson|json|txt))+$", "", Path(input_path).name, flags=re.I)
        guessed = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:100]
        return guessed or "job"
    try:
        return JobSection(name=given).name
    except ValueError:
        raise JobError(
            f"--name {given}: use letters, digits, dot, dash and underscore, a letter or digit first."
        ) from None


def _write(job: Path, text: str, input_path: str, force: bool) -> None:
    if job.exists() and Path(input_path).exists() and job.samefile(input_path):
        raise JobError(f"{job}: this file is the input. Name the job file with --out.")
    try:
        with job.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise JobError(
            f"{job}: the file exists. Name another file with --out, or overwrite it with --force."
        ) from None
    except OSError as fault:
        raise JobError(f"{job}: the file cannot be written: {fault.strerror}.") from fault


def _written(job: Path, guessed: str, called: str, scenario: str) -> str:
    path, rehearsal = shlex.quote(str(job)), shlex.quote(str(job.parent / "runs" / f"{called}-rehearsal"))
    steps = (
        ("export ALTCRAFT_TOKEN=…", "the job file only refers to it"),
        (f"engager check {path}", "reads every row, sends nothing"),
        (f"engager run {path} --out {rehearsal}", "sends to the embedded sandbox"),
        (f"engager run {path}", f"sends to people after request.{scenario} and endpoint.url are changed"),
    )
    width = max(len(command) for command, _ in steps)
    lines = (f"  {command:<{width}}  # {text}" for command, text in steps)
    return "\n".join(
        (
            f"{job}: {guessed}. It reaches no person until the lines marked CHANGE are changed; "
            "see also those marked ADVISED.",
            *lines,
        )
    )
