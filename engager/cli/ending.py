"""Errors of commands as messages and exit codes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from engager.cli.streams import drain, fault_of_stdout, say, stdout_lost_its_reader
from engager.config.secret import Secret
from engager.errors import EngagerError, Exit

if TYPE_CHECKING:
    from engager.output.logs import LogFormat

#: The exit code of a command whose output is not read any more: 128 and the number of SIGPIPE.
_NO_READER = 141


def exit_with(action: Callable[[], int], log_format: LogFormat = "text") -> NoReturn:
    """Run a command and exit; an error is printed in the format of stderr and sets the exit code."""
    try:
        code = action()
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except SystemExit:
        raise
    except BaseException as fault:  # a panic of a package in Rust is no Exception
        code = _print_error(fault, log_format)
    sys.exit(code)


def honest(code: Any) -> Any:
    """The exit code of a command; an internal error if its output did not reach stdout.

    If its reader has closed stdout, it ends in silence: with its own code, or that of SIGPIPE instead of 0.
    """
    drain()
    if (fault := fault_of_stdout()) is None:
        return code
    if stdout_lost_its_reader():  # it has what it wants: no fault
        return code or _NO_READER
    say(f"error: stdout: {fault}. The output is not complete.", err=True)
    return int(Exit.INTERNAL)


def _print_error(fault: BaseException, log_format: LogFormat) -> int:
    code, is_known = Exit.INTERNAL, True
    if isinstance(fault, EngagerError):
        code, text = fault.exit, str(fault)
    elif (known := _machine_fault(fault)) is not None:
        text = known
    else:
        is_known, text = False, "this is a fault in engager; all stored outcomes are safe."
    if log_format == "json":
        from engager.output.logs import json_error  # the commands that print text need no logs

        say(json_error(fault, text), err=True)
        return int(code)
    if not is_known:
        say(Secret.redact_all("".join(traceback.format_exception(fault))), err=True)
    say(Secret.redact_all(f"error: {text}"), err=True)
    return int(code)


def _machine_fault(fault: BaseException) -> str | None:
    """The text of a fault of the machine; None for any other exception."""
    if isinstance(fault, OSError):
        what = ": ".join(str(part) for part in (fault.filename, fault.strerror or fault) if part)
    elif isinstance(fault, MemoryError) or str(fault) == "can't start new thread":
        what = "this machine has no memory left for engager"
    elif isinstance(fault, SystemError) or not isinstance(fault, Exception):
        what = f"a package that engager uses broke down, as it does without memory: {fault}"
    else:
        return None
    return f"{what}. All stored outcomes are safe. Fix this, and run the same command again."
