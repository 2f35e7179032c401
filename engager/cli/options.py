"""What several commands are told alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

SET = click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Replace a value of the job."
)


def of_a_job(command: Callable[..., Any]) -> Callable[..., Any]:
    """The parameters of every command that reads a job and its input."""
    for parameter in (
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows."),
        SET,
        click.option("--input", "input_path", metavar="PATH", help='Another input; "-" is stdin.'),
        click.argument("job", type=click.Path(path_type=Path)),
    ):
        command = parameter(command)
    return command


def of_a_sending(command: Callable[..., Any]) -> Callable[..., Any]:
    """The parameters of every command that sends."""
    for parameter in (
        click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True),
        click.option("--page", metavar="HOST:PORT", help="Serve a live page, metrics and health there."),
        click.option("--quiet", is_flag=True, help="Nothing but errors on stderr, no summary."),
        click.option("--no-progress", is_flag=True, help="Show no progress."),
    ):
        command = parameter(command)
    return command
