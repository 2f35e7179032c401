"""Options of several commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from engager.config.profiles import CHOICE


def complete_path(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem[str]]:
    """Let the shell complete a word as a path, of a parameter that click knows as a text."""
    return [CompletionItem(word, type="file")]


_PROFILE = click.option(
    "--profile",
    metavar="NAME",
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, name: context.meta.__setitem__(__name__, name),
    help="Use the values of [profiles.NAME] of the job file.",
)

_SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    callback=lambda context, _, overrides: _with_profile(context, overrides),
    help="Replace a value of the job file; repeatable.",
)


def _with_profile(context: click.Context, overrides: tuple[str, ...]) -> tuple[str, ...]:
    name = context.meta.get(__name__)
    return overrides if name is None else (f"{CHOICE}={name}", *overrides)


def SET(command: Callable[..., Any]) -> Callable[..., Any]:  # noqa: N802 - an option, as others are
    """Add the options that replace values of the job file."""
    return _PROFILE(_SET(command))


def output_format(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--output` of commands that print a document."""
    return click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Format of stdout: text, or one JSON document.",
    )(command)


def no_progress(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--no-progress` of commands that show it."""
    return click.option("--no-progress", is_flag=True, help="Print no progress.")(command)


INPUT = click.option(
    "--input",
    "input_path",
    metavar="PATH",
    shell_complete=complete_path,
    help='Read another input; "-" is stdin.',
)


def of_a_job(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the parameters of commands that read a job and its input."""
    for parameter in (
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after the first N rows."),
        SET,
        INPUT,
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
        no_progress,
        click.option(
            "--new-address",
            is_flag=True,
            help="Go on at the changed endpoint.url: the platform is there now.",
        ),
    ):
        command = parameter(command)
    return command
