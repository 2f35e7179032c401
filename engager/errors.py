"""Errors for the person who must act: each says what, where and what to do, and knows its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class Exit(IntEnum):
    """How the process ends."""

    DONE = 0  #: every row engaged, or skipped by rule
    INCOMPLETE = 1  #: complete, but some rows are not engaged
    WRONG = 2  #: the usage, the job or the input is wrong and nothing was sent
    STOPPED = 3  #: stopped before the end by a rule: run it again to go on
    INTERNAL = 4  #: our own fault
    HUNG_UP = 129  #: SIGHUP
    INTERRUPTED = 130  #: SIGINT
    TERMINATED = 143  #: SIGTERM


class EngagerError(Exception):
    """What a person can mend. Its text goes to stderr as it is, without a traceback."""

    exit: Exit = Exit.WRONG


class JobError(EngagerError):
    """The job file, a flag or what they name is wrong."""


class InputError(EngagerError):
    """The input cannot be read at all, or not to its end."""


class EndpointError(EngagerError):
    """The endpoint refuses what it was asked for, or cannot be asked now."""

    def __init__(self, text: str, exit_code: Exit) -> None:
        super().__init__(text)
        self.exit = exit_code


class RunDirectoryError(EngagerError):
    """The run directory cannot be used."""


class BusyError(RunDirectoryError):
    """Another process works in the run directory."""

    exit = Exit.STOPPED


class RecordingError(EngagerError):
    """What became of the rows can no longer be written down: the run stops at once."""

    exit = Exit.INTERNAL


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Of faults that came together the first: a task group is no concern of the caller's."""
    try:
        yield
    except BaseExceptionGroup as several:
        raise first_of(several) from None


def first_of(fault: BaseException) -> BaseException:
    """Of faults that came together the first; a single one as it is."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


class ParameterError(JobError):
    """A value of the job's [request] table is wrong; `key` says which."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"{key}: {text}")
        self.key = key
