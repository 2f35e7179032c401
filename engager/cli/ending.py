"""A command in, its exit code out: every error becomes a text for the person who must act."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import click

from engager.cli.streams import drain, fault_of_stdout
from engager.config.secret import Secret
from engager.errors import EngagerError, Exit


def exit_with(action: Callable[[], int]) -> NoReturn:
    """Carry a command out; an error becomes its text and its exit code."""
    try:
        code = action()
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except Exception as fault:
        code = _fault_told(fault)
    sys.exit(code)


def honest(code: Any) -> Any:
    """The exit code of a command that ended: another one where its output did not reach stdout."""
    drain()
    if (fault := fault_of_stdout()) is None:
        return code
    click.echo(f"error: stdout: {fault}. What was to be read there is not complete.", err=True)
    return int(Exit.INTERNAL)


def _fault_told(fault: BaseException) -> int:
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
