"""Confirmation by the person at the terminal, or by `--yes`."""

from __future__ import annotations

import sys

import click

from engager.errors import JobError


def consented(question: str, yes: bool) -> bool:
    """Whether the person confirms. Raises JobError without a terminal and without `--yes`."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise JobError(
            f"{question} Nothing was done, because there is no terminal to confirm it; --yes confirms it."
        )
    return click.confirm(question, err=True)
