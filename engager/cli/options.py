"""Options of several commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Replace a value of the job file; repeatable.",
)


def output_format(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--output` of commands that print a document."""
    return click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Format of stdout: text, or one JSON document.",
    )(command)


def of_a_job(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the parameters of commands that read a job and its input."""
    for parameter in (
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after the first N rows."),
        SET,
        click.option("--input", "input_path", metavar="PATH", help='Read another input; "-" is stdin.'),
        click.argument("job", type=click.Path(path_type=Path)),
    ):
        command = parameter(command)
    return command


def of_a_sending(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that send."""
    for parameter in (
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="Format of stderr: lines of text, or one JSON object per line.",
        ),
        click.option(
            "--page", metavar="HOST:PORT", help="Serve the live page, metrics and health at this address."
        ),
        click.option("--quiet", is_flag=True, help="Print errors only, and no summary."),
        click.option("--no-progress", is_flag=True, help="Print no progress."),
        click.option(
            "--new-address",
            is_flag=True,
            help="Go on at the changed endpoint.url: the platform is there now.",
        ),
    ):
        command = parameter(command)
    return command
