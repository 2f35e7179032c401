"""Runs the command in this process, which kills itself at a named point.

The points are patched around engager from outside.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engager import cli
from engager.sending.attempt import Attempt
from engager.sending.transport.http1.connection import Connection
from engager.store import journal, run_directory, store
from engager.store.files import repair, result_files
from engager.store.journal import Journal
from engager.store.store import ResultStore


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Kills at the n-th call."""

    def __init__(self, left: int) -> None:
        self._left = left

    def due(self) -> bool:
        self._left -= 1
        return self._left == 0


def around(
    owner: Any, name: str, countdown: Countdown, after: bool, kill: Callable[[], None] = kill_self
) -> None:
    """Kill before or after the n-th call of a function."""
    original = getattr(owner, name)

    def killing(*args: Any, **kwargs: Any) -> Any:
        due = countdown.due()
        if due and not after:
            kill()
        result = original(*args, **kwargs)
        if due and after:
            kill()
        return result

    setattr(owner, name, killing)


def before_store(countdown: Countdown) -> None:
    around(ResultStore, "before_send", countdown, after=False)


def after_store(countdown: Countdown) -> None:
    """The requests are stored, and no byte has left."""
    around(ResultStore, "before_send", countdown, after=True)


def after_admission(countdown: Countdown) -> None:
    """Admitted, and not stored yet."""
    around(Attempt, "admitted", countdown, after=True)


def before_departure(countdown: Countdown) -> None:
    """Stored and admitted, and about to leave together with others."""
    around(Connection, "depart", countdown, after=False)


def after_send(countdown: Countdown) -> None:
    def soon() -> None:
        asyncio.get_running_loop().call_later(0.002, kill_self)

    around(Attempt, "admitted", countdown, after=True, kill=soon)


def after_answer(countdown: Countdown) -> None:
    around(Attempt, "ended", countdown, after=True)


def after_unsettled(countdown: Countdown) -> None:
    """An attempt settled nothing, and that is not stored yet."""
    after_attempt(countdown, lambda outcomes, due: bool(due))


def after_outcome(countdown: Countdown) -> None:
    """An outcome is known, and not stored yet."""
    after_attempt(countdown, lambda outcomes, due: bool(outcomes))


def after_attempt(countdown: Countdown, matters: Callable[[Any, Any], bool]) -> None:
    """Kill when an attempt ended in a way that matters."""
    after = ResultStore.after

    def killing(store: ResultStore, outcomes: Any, due: Any = ()) -> Any:
        waiting = after(store, outcomes, due)
        if matters(outcomes, due) and countdown.due():
            kill_self()
        return waiting

    ResultStore.after = killing  # type: ignore[method-assign, assignment]


def inside_frame(countdown: Countdown) -> None:
    """In the middle of a write to the journal."""
    pwrite = os.pwrite

    def tearing(descriptor: int, data: Any, at: int) -> int:
        if countdown.due():
            pwrite(descriptor, data[: len(data) // 2], at)
            kill_self()
        return pwrite(descriptor, data, at)

    os.pwrite = tearing


def after_frame(countdown: Countdown) -> None:
    around(Journal, "write", countdown, after=True)


def before_sync(countdown: Countdown) -> None:
    """The written frames are not on the disk yet."""
    around(journal, "sync_data", countdown, after=False)


def before_turn(countdown: Countdown) -> None:
    around(Journal, "begin_anew", countdown, after=False)


def inside_turn(countdown: Countdown) -> None:
    """In the middle of a snapshot."""
    write = journal.write_all

    def tearing(descriptor: int, data: bytes, at: int) -> None:
        if at == 0 and countdown.due():
            write(descriptor, data[: len(data) // 2], at)
            kill_self()
        write(descriptor, data, at)

    journal.write_all = tearing


def after_turn(countdown: Countdown) -> None:
    around(Journal, "begin_anew", countdown, after=True)


def before_resumption(countdown: Countdown) -> None:
    """The journal of the earlier process is read, and not begun anew yet."""
    around(Journal, "begin_in_draft", countdown, after=False)


def after_resumption(countdown: Countdown) -> None:
    around(Journal, "begin_in_draft", countdown, after=True)


def between_files(countdown: Countdown) -> None:
    """An outcome is in some of its files, and the journal does not know of it."""
    around(result_files.ResultFile, "append", countdown, after=True)


def before_cut(countdown: Countdown) -> None:
    around(os, "truncate", countdown, after=False)


def after_cut(countdown: Countdown) -> None:
    around(os, "truncate", countdown, after=True)


def before_set_aside(countdown: Countdown) -> None:
    """A further pass has not set the lines of its rows aside."""
    around_set_aside(countdown, after=False)


def after_set_aside(countdown: Countdown) -> None:
    """They are set aside, and still in their file."""
    around_set_aside(countdown, after=True)


def around_set_aside(countdown: Countdown, after: bool) -> None:
    replace = Path.replace

    def killing(draft: Path, target: Path) -> Path:
        is_due = bool(SET_ASIDE.fullmatch(target.name)) and countdown.due()
        if is_due and not after:
            kill_self()
        replaced = replace(draft, target)
        if is_due:
            kill_self()
        return replaced

    Path.replace = killing  # type: ignore[method-assign, assignment]


def before_rename(countdown: Countdown) -> None:
    around(Path, "replace", countdown, after=False)


def after_rename(countdown: Countdown) -> None:
    around(Path, "replace", countdown, after=True)


def inside_write(countdown: Countdown) -> None:
    """In the middle of a write to a file of outcomes."""
    write = os.write

    def tearing(descriptor: int, data: Any) -> int:
        if countdown.due():
            write(descriptor, data[: len(data) // 2])
            kill_self()
        return write(descriptor, data)

    vars(result_files)["os"] = SimpleNamespace(**{**vars(os), "write": tearing})


def inside_draft(countdown: Countdown) -> None:
    """In the middle of a file that is written anew beside the old one."""

    class Tearing(io.FileIO):
        def write(self, data: Any) -> int:
            if countdown.due():
                super().write(data[: len(data) // 2])
                kill_self()
            return super().write(data)

    def tearing(descriptor: int, mode: str) -> Any:
        return Tearing(descriptor, mode)

    for module in (run_directory, repair):
        vars(module)["os"] = SimpleNamespace(**{**vars(os), "fdopen": tearing})


POINTS: dict[str, Callable[[Countdown], None]] = {
    point.__name__: point
    for point in (
        after_admission,
        before_store,
        inside_frame,
        after_frame,
        after_store,
        before_departure,
        after_send,
        after_answer,
        after_unsettled,
        after_outcome,
        before_sync,
        before_turn,
        inside_turn,
        after_turn,
        before_resumption,
        after_resumption,
        inside_write,
        between_files,
        before_cut,
        after_cut,
        inside_draft,
        before_rename,
        after_rename,
        before_set_aside,
        after_set_aside,
    )
}


#: Points that every row passes.
OFTEN = (
    *("after_admission", "before_store", "inside_frame", "after_frame", "after_store"),
    *("before_departure", "after_send", "after_answer", "after_unsettled", "after_outcome"),
)

#: Points that only runs with `durability = "disk"` pass often.
SYNCED = ("before_sync",)

#: Points that only some runs pass: where rows are settled in part, where attempts fail, in further passes.
RARE = (
    *("after_unsettled", "before_cut", "after_cut", "before_set_aside", "after_set_aside"),
    *("inside_draft", "before_rename", "after_rename"),
)

#: Points that only a run passes that was killed before.
RESUMING = ("before_resumption", "after_resumption", "before_cut", "after_cut")

#: The names of files with the lines that a further pass sets aside.
SET_ASIDE = re.compile(r"(results|failed|in_doubt)\.\d+\.\w+")

#: Bytes of a journal that is begun anew many times in a short run.
SHORT_JOURNAL = 12_000


def run(folder: str, args: list[str], point: str | None, count: int, reported: str = "reported.txt") -> None:
    """Run the command in a folder, until it ends or is killed."""
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(os.open(reported, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
    journal.LIMIT = SHORT_JOURNAL
    store.FRESH_SECONDS = 0.02
    if point is not None:
        POINTS[point](Countdown(count))
    sys.argv = ["engager", *args]
    cli.main(args)
