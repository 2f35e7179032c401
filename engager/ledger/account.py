"""Opens the account of a run, new or after whatever ended the last process: the book, and the past."""

from __future__ import annotations

import logging
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engager.errors import RunDirectoryError
from engager.ledger import passes
from engager.ledger.book import Book, Files
from engager.ledger.commits import Commits
from engager.ledger.journal import Entry
from engager.ledger.ledger import Ledger
from engager.ledger.ledgers import Ledgers, opened, shard_path
from engager.ledger.recall import Gaps, Recall
from engager.ledger.states import SETTLED, State, settled_state
from engager.model import Status
from engager.store.clock import Moment, boot_id, on_boot_clock, this_moment
from engager.store.formats import REJECT_FILE, Formats
from engager.store.formats import RejectFile as Mend
from engager.store.lock import RunLock
from engager.store.repair import keep_only
from engager.store.result_files import LineFile
from engager.store.run_directory import RunDirectory, clear_folder, find_run, write_run
from engager.store.tally import Tally

log = logging.getLogger("engager")


@dataclass(frozen=True, slots=True)
class Keeping:
    """How the account of a run is kept."""

    formats: Formats
    max_row_bytes: int
    synced: bool  #: what is stored is brought to the disk before it is relied on
    token: str  #: by which a token is known again, and cannot be guessed


@dataclass(frozen=True, slots=True)
class Account:
    """The open account of a run."""

    book: Book
    recalls: Sequence[Recall]  #: for every shard


def begin(run: RunDirectory, keeping: Keeping) -> Account:
    """The account of a new run, which has begun when this returns.

    Raises RunDirectoryError, or RecordingError without space.
    """
    clear_folder(run.path)
    for shard, first in enumerate(run.first_rows):
        Ledger.make(shard_path(run.ledger_folder, shard), first, keeping.max_row_bytes)
    book = _book(run, keeping)
    try:
        book.commit()
        write_run(run)
        book.files.results.open()
    except BaseException:
        book.close()
        raise
    return Account(book, [Recall() for _ in run.first_rows])


def resume(run: RunDirectory, keeping: Keeping) -> Account:
    """The account of a run that goes on. Raises RunDirectoryError or RecordingError."""
    with opened(run.ledger_folder, len(run.first_rows)) as ledgers:
        book = _book(run, keeping)
        try:
            recalls = _recalled(run, keeping, ledgers, book)
            book.files.results.open()
        except BaseException:
            book.close()
            raise
    return Account(book, recalls)


def _book(run: RunDirectory, keeping: Keeping) -> Book:
    files = Files.of(run.path, keeping.formats, keeping.synced)
    return Book(run.book_path, files, len(run.first_rows), keeping.token, keeping.synced)


def _recalled(run: RunDirectory, keeping: Keeping, ledgers: Ledgers, book: Book) -> list[Recall]:
    facts = book.read()
    marks, latest_wall, same_token = book.marks, facts["wall"], book.knows_token(facts)
    begun = on_boot_clock(Moment(run.started_at, 0.0, 0), this_moment(boot_id()), latest_wall)
    intact = book.files.restore(facts)
    entries = [
        entry
        for ledger, mark in zip(ledgers, marks, strict=True)
        for entry in ledger.recover(mark, latest_wall, same_token, begun)
    ]
    if (another := passes.begun(run)) is not None:
        book.marks = [ledger.journal.mark for ledger in ledgers]
        passes.open_again(run, another, ledgers, book, keeping.formats)
        entries, intact = [], True
    gaps = _gaps(run, ledgers, book, keeping.formats, entries, intact)
    known = (latest_wall, same_token, book.passes, book.generations, gaps, begun)
    return [Recall(mark, *known) for mark in book.marks]


def _gaps(
    run: RunDirectory, ledgers: Ledgers, book: Book, formats: Formats, entries: list[Entry], intact: bool
) -> Gaps:
    """What the files lack; where they are not as they were left, keep of them what is whole."""
    tally, unwritten = book.tally, Counter(entry.mend for entry in entries)
    for entry in entries:
        tally.count_line(entry.result)
    adds_up = intact and _settled(ledgers) == +tally.statuses
    if adds_up and _mended(book.files, unwritten) == _to_mend(tally):
        return Gaps()
    log.warning("%s: files of the run were damaged; what was lost is written again", run.path)
    files = book.files
    gaps = Gaps(_repaired_results(ledgers, book, formats))
    for mend, file in ((Mend.FAILED, files.failed), (Mend.IN_DOUBT, files.in_doubt)):
        gaps.mended[mend] = _repaired(file, formats, ledgers.end)
    return gaps


def _mended(files: Files, unwritten: Counter[Mend]) -> list[int]:
    """How many rows are kept to be mended, and to be looked into."""
    return [
        files.failed.lines + unwritten[Mend.FAILED],
        files.in_doubt.lines + unwritten[Mend.IN_DOUBT],
    ]


def _to_mend(tally: Tally) -> list[int]:
    """How many there must be."""
    return [
        sum(tally.statuses[status] for status, kind in REJECT_FILE.items() if kind is mend)
        for mend in (Mend.FAILED, Mend.IN_DOUBT)
    ]


def _settled(ledgers: Ledgers) -> dict[Status, int]:
    counts: dict[Status, int] = {}
    for state, rows in ledgers.count().items():
        if state in SETTLED:
            counts[SETTLED[state]] = counts.get(SETTLED[state], 0) + rows
        elif state is State.DAMAGED:
            counts[Status.SKIPPED] = -rows  # no account is equal to this one
    return counts


def _repaired(file: LineFile, formats: Formats, end: int) -> bytearray:
    kept = keep_only(file.path, file.path, formats.reject, lambda row, fields: True, end)
    file.replaced(kept.count(1))
    return kept


def _repaired_results(ledgers: Ledgers, book: Book, formats: Formats) -> bytearray:
    fresh, results = Tally(), book.files.results

    def wanted(row: int, fields: dict[str, Any]) -> bool:
        try:
            status = Status(fields["status"])
        except (KeyError, ValueError, TypeError):
            return False
        state = ledgers.state(row)
        if state is State.DAMAGED:
            # A line was only ever written of a settled row.
            ledgers.set_state(row, settled_state(status, renewed=False))
        elif state not in SETTLED:
            # The line is damaged, or the ledger lost this row in a power cut: a try may have left any time.
            ledgers.set_state(row, State.SLOTTED)
            return False
        try:
            fresh.count([fields])
        except (KeyError, ValueError, TypeError):
            return False
        return True

    kept = keep_only(results.path, results.path, formats.results, wanted, ledgers.end)
    results.replaced(kept.count(1))
    book.base = fresh
    return kept


def existing_run(path: Path) -> RunDirectory:
    """The run in a folder. Raises RunDirectoryError when there is none."""
    found = find_run(path)
    if found is None:
        raise RunDirectoryError(f"{path}: there is no run here. Name a run directory, such as runs/NAME.")
    return found


def _command(run: RunDirectory) -> str | None:
    """What goes on with a run; None where only a program can."""
    told = run.invocation
    if told.get("job") is None:
        return None
    sets = [part for override in told["overrides"] for part in ("--set", override)]
    given = ["--input", told["input"]] if told.get("input") else []
    return shlex.join(["engager", "run", told["job"], "--out", str(run.path), *given, *sets])


def look(run: RunDirectory) -> dict[str, Any]:
    """What became of the rows so far, also while a process works on them. Raises RunDirectoryError."""
    with opened(run.ledger_folder, len(run.first_rows), writable=False) as ledgers:
        counts, facts = ledgers.count(), Commits.of_file(run.book_path)
    summary = run.summary() or {}
    running = RunLock.is_held(run.lock_path)
    complete = bool(summary.get("complete")) and not running
    settled = dict.fromkeys(Status, 0)
    for state, rows in counts.items():
        if state in SETTLED:
            settled[SETTLED[state]] += rows
    tally = Tally.restored(facts["tally"]) if facts else Tally()
    return {
        "run": run.run_id,
        "state": "running" if running else "complete" if complete else "stopped",
        "stopped": summary.get("stopped"),
        "goes_on": None if complete or running else _command(run),
        "rows": sum(settled.values()),
        "statuses": {str(status): rows for status, rows in settled.items()},
        "open": counts[State.OPEN] + counts[State.SLOTTED],
        "unwritten": max(0, sum(settled.values()) - tally.rows),
        "to_be_tried_again": counts[State.AGAIN] + counts[State.AGAIN_IN_DOUBT],
        **{key: value for key, value in tally.as_dict().items() if key not in ("rows", "statuses")},
    }
