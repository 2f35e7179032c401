"""Errors: each says what is wrong, where, and what to do, and has an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path


class Exit(IntEnum):
    """The exit codes of the command."""

    DONE = 0  #: every row is engaged or accepted, or skipped by a rule
    INCOMPLETE = 1  #: complete, but some rows are neither
    WRONG = 2  #: the usage, the job or the input is wrong and nothing was sent
    STOPPED = 3  #: stopped before the end by a rule; the same command resumes
    INTERNAL = 4  #: an internal error, or a fault of the machine
    HUNG_UP = 129  #: SIGHUP
    INTERRUPTED = 130  #: SIGINT
    TERMINATED = 143  #: SIGTERM


class EngagerError(Exception):
    """An error that a person can fix; its text is printed without a traceback."""

    exit: Exit = Exit.WRONG


class JobError(EngagerError):
    """The job file, an option, or a file that they name is wrong."""


class InputError(EngagerError):
    """The input cannot be read, or not to its end."""


class EndpointError(EngagerError):
    """The endpoint refused a question about itself, or could not be reached."""

    def __init__(self, text: str, exit_code: Exit) -> None:
        super().__init__(text)
        self.exit = exit_code


class RunDirectoryError(EngagerError):
    """The run directory cannot be used."""


class BusyError(RunDirectoryError):
    """Another process works in the run directory."""

    exit = Exit.STOPPED


class UnsettledRunError(RunDirectoryError):
    """An earlier run of the job is neither complete nor given up, and its input is another one."""

    exit = Exit.STOPPED

    def __init__(self, directory: Path, reason: str, advice: str) -> None:
        super().__init__(f"{reason}. {advice}")
        self.directory, self.reason = directory, reason


class RecordingError(EngagerError):
    """Outcomes can no longer be stored; the run stops at once."""

    exit = Exit.INTERNAL


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Raise the first exception of a group instead of the group."""
    try:
        yield
    except BaseExceptionGroup as several:
        raise first_of(several) from None


def first_of(fault: BaseException) -> BaseException:
    """The first exception of a group; any other exception as it is."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


class ParameterError(JobError):
    """A value of the [request] section is wrong; `key` names it."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}")
        self.key = key
