"""A question to the person at the terminal; without one, the answer must have been given with the command."""

from __future__ import annotations

import sys

import click

from engager.errors import JobError


def consented(question: str, yes: bool) -> bool:
    """Whether the person says yes. Raises JobError where nobody can be asked and `--yes` was not given."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise JobError(f"{question} There is no terminal to ask at, so nothing was done; --yes says yes.")
    return click.confirm(question, err=True)
