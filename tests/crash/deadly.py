"""Ways to die: runs the command in this process, which kills itself at a named point.

Everything here is laid around engager from outside; the program knows nothing of it.
"""

from __future__ import annotations

import asyncio
import io
import mmap
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engager import cli
from engager.dispatch.effort import Effort
from engager.dispatch.http1.connection import Connection
from engager.ledger import mapped
from engager.ledger.book import Book
from engager.ledger.journal import Journal
from engager.ledger.ledger import Ledger
from engager.ledger.row_states import RowStates
from engager.ledger.slots import Slots
from engager.store import repair, result_files, run_directory


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Kills at the n-th call."""

    def __init__(self, left: int) -> None:
        self._left = left

    def due(self) -> bool:
        self._left -= 1
        return self._left == 0


def around(owner: Any, name: str, countdown: Countdown, after: bool, kill: Callable[[], None] = die) -> None:
    """Kill before or after the n-th call of a function."""
    original = getattr(owner, name)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        due = countdown.due()
        if due and not after:
            kill()
        result = original(*args, **kwargs)
        if due and after:
            kill()
        return result

    setattr(owner, name, deadly)


def before_mark(countdown: Countdown) -> None:
    around(Ledger, "keep", countdown, after=False)


def between_marks(countdown: Countdown) -> None:
    """The outcomes of a burst are stored, and what is about to leave is not; or both are."""
    around(RowStates, "store_all", countdown, after=True)


def after_mark(countdown: Countdown) -> None:
    around(Ledger, "keep", countdown, after=True)


def after_clearance(countdown: Countdown) -> None:
    """Cleared to leave, and not marked yet."""
    around(Ledger, "leaves", countdown, after=True)


def after_slot(countdown: Countdown) -> None:
    """Between the two stores of a mark."""
    around(Slots, "write", countdown, after=True)


def before_departure(countdown: Countdown) -> None:
    """Marked and cleared, and about to leave together with others."""
    around(Connection, "depart", countdown, after=False)


def after_send(countdown: Countdown) -> None:
    def soon() -> None:
        asyncio.get_running_loop().call_later(0.002, die)

    around(Ledger, "leaves", countdown, after=True, kill=soon)


def after_answer(countdown: Countdown) -> None:
    around(Effort, "ended", countdown, after=True)


def after_unsettled(countdown: Countdown) -> None:
    around(Ledger, "answered", countdown, after=True)


def after_slots(countdown: Countdown) -> None:
    """Rows that were marked by their byte alone have just got their slots."""
    around(Ledger, "give_slots", countdown, after=True)


def after_horizon(countdown: Countdown) -> None:
    around(Ledger, "move_horizon", countdown, after=True)


def after_journal(countdown: Countdown) -> None:
    """Between the two stores of an outcome."""
    around(Journal, "append", countdown, after=True)


def after_settling(countdown: Countdown) -> None:
    around(Ledger, "settle", countdown, after=True)


def before_commit(countdown: Countdown) -> None:
    around(Book, "commit", countdown, after=False)


def after_commit(countdown: Countdown) -> None:
    around(Book, "commit", countdown, after=True)


def between_files(countdown: Countdown) -> None:
    """An outcome is in some of its files, and the ledger does not know of it."""
    around(result_files.LineFile, "append", countdown, after=True)


def before_cut(countdown: Countdown) -> None:
    around(os, "truncate", countdown, after=False)


def after_cut(countdown: Countdown) -> None:
    around(os, "truncate", countdown, after=True)


def before_link(countdown: Countdown) -> None:
    around(os, "link", countdown, after=False)


def after_link(countdown: Countdown) -> None:
    around(os, "link", countdown, after=True)


def before_room(countdown: Countdown) -> None:
    around(os, "posix_fallocate", countdown, after=False)


def after_room(countdown: Countdown) -> None:
    around(os, "posix_fallocate", countdown, after=True)


def before_rename(countdown: Countdown) -> None:
    around(Path, "replace", countdown, after=False)


def after_rename(countdown: Countdown) -> None:
    around(Path, "replace", countdown, after=True)


def inside_store(countdown: Countdown) -> None:
    """In the middle of a store into the ledger's memory."""

    class Tearing(mmap.mmap):
        def __setitem__(self, key: Any, value: Any) -> None:
            if isinstance(key, slice) and countdown.due():
                half = len(value) // 2
                begin = key.start or 0
                super().__setitem__(slice(begin, begin + half), value[:half])
                die()
            super().__setitem__(key, value)

    names = {name: getattr(mmap, name) for name in ("ACCESS_WRITE", "ACCESS_READ")}
    mapped.mmap = SimpleNamespace(mmap=Tearing, **names)  # type: ignore[assignment]


def inside_write(countdown: Countdown) -> None:
    """In the middle of a write to a file of outcomes."""
    write = os.write

    def tearing(descriptor: int, data: Any) -> int:
        if countdown.due():
            write(descriptor, data[: len(data) // 2])
            die()
        return write(descriptor, data)

    result_files.os = SimpleNamespace(**{**vars(os), "write": tearing})  # type: ignore[assignment]


def inside_log(countdown: Countdown) -> None:
    """In the middle of a block of the redo log."""
    pwrite = os.pwrite

    def tearing(descriptor: int, data: memoryview, begin: int) -> int:
        if countdown.due():
            pwrite(descriptor, data[: len(data) // 2 // 512 * 512], begin)
            die()
        return pwrite(descriptor, data, begin)

    os.pwrite = tearing  # type: ignore[assignment]


def after_log(countdown: Countdown) -> None:
    """What was marked is on the disk, and nothing has left."""
    around(os, "pwrite", countdown, after=True)


def inside_draft(countdown: Countdown) -> None:
    """In the middle of a file that is written anew beside the old one."""

    class Tearing(io.FileIO):
        def write(self, data: Any) -> int:
            if countdown.due():
                super().write(data[: len(data) // 2])
                die()
            return super().write(data)

    def tearing(descriptor: int, mode: str) -> Any:
        return Tearing(descriptor, mode)

    for module in (run_directory, repair):
        module.os = SimpleNamespace(**{**vars(os), "fdopen": tearing})  # type: ignore[assignment]


POINTS: dict[str, Callable[[Countdown], None]] = {
    point.__name__: point
    for point in (
        after_clearance,
        before_mark,
        inside_store,
        after_slot,
        between_marks,
        after_mark,
        before_departure,
        after_send,
        after_answer,
        after_unsettled,
        after_journal,
        after_settling,
        inside_log,
        after_log,
        inside_write,
        between_files,
        before_commit,
        after_commit,
        before_cut,
        after_cut,
        inside_draft,
        before_rename,
        after_rename,
        before_link,
        after_link,
        before_room,
        after_room,
        after_slots,
        after_horizon,
    )
}


#: Points that every row passes.
OFTEN = (
    *("after_clearance", "before_mark", "inside_store", "after_slot", "between_marks", "after_mark"),
    *("before_departure", "after_send", "after_answer", "after_unsettled", "after_journal", "after_settling"),
)

#: Points that only runs pass that outlive a power cut.
SYNCED = ("inside_log", "after_log")

#: Points that only some runs pass: where rows were left half settled, where tries fail, in further passes.
RARE = (
    *("after_unsettled", "before_cut", "after_cut", "before_link", "after_link"),
    *("inside_draft", "before_rename", "after_rename"),
)


def run(folder: str, args: list[str], point: str | None, count: int, told: str = "told.txt") -> None:
    """Run the command in a folder, until it ends or dies."""
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
    if point is not None:
        POINTS[point](Countdown(count))
    sys.argv = ["engager", *args]
    cli.main(args)
