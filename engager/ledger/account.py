"""Opens the account of a run, new or after whatever ended the last process: ledger, files and tally."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from engager.errors import RunDirectoryError
from engager.ledger import passes
from engager.ledger.journal import Entry, Mend
from engager.ledger.ledger import Ledger, journal_size
from engager.ledger.line_file import LineFile
from engager.ledger.lock import RunLock
from engager.ledger.recorder import Files, Formats, Gaps, Recorder
from engager.ledger.repair import keep_only
from engager.ledger.run_directory import RunDirectory, clear_folder, find_run, write_run
from engager.ledger.states import SETTLED, State, settled_state
from engager.ledger.tally import Tally
from engager.model import Status

log = logging.getLogger("engager")


def existing_run(path: Path) -> RunDirectory:
    """The run in a folder. Raises RunDirectoryError when there is none."""
    found = find_run(path)
    if found is None:
        raise RunDirectoryError(f"{path}: there is no run here. Name a run directory, such as runs/NAME.")
    return found


def look(run: RunDirectory) -> dict[str, Any]:
    """What became of the rows so far, also while a process works on them. Raises RunDirectoryError."""
    ledger = Ledger(run.ledger_path, writable=False)
    try:
        counts, facts = ledger.count(), ledger.commits.read()
    finally:
        ledger.close()
    summary = run.summary() or {}
    running = RunLock.is_held(run.lock_path)
    complete = bool(summary.get("complete")) and not running
    settled = dict.fromkeys(Status, 0)
    for state, rows in counts.items():
        if state in SETTLED:
            settled[SETTLED[state]] += rows
    tally = Tally()
    tally.restore(facts["tally"] if facts else Tally().state())
    return {
        "run": run.run_id,
        "state": "running" if running else "complete" if complete else "stopped",
        "stopped": summary.get("stopped"),
        "rows": sum(settled.values()),
        "statuses": {str(status): rows for status, rows in settled.items()},
        "open": counts[State.OPEN],
        "to_be_tried_again": counts[State.AGAIN] + counts[State.AGAIN_IN_DOUBT],
        **{key: value for key, value in tally.as_dict().items() if key not in ("rows", "statuses")},
    }


def files_of(folder: Path, formats: Formats, synced: bool = False) -> Files:
    """The files of outcomes of a run."""
    mend = formats.mend
    return Files(
        LineFile(folder / formats.results.name, formats.results.head, synced),
        LineFile(folder / f"failed{mend.suffix}", mend.head, synced),
        LineFile(folder / f"in_doubt{mend.suffix}", mend.head, synced),
    )


def begin(
    run: RunDirectory, formats: Formats, max_row_bytes: int, synced: bool, known_by: str = ""
) -> Recorder:
    """The account of a new run, which has begun when this returns.

    Raises RunDirectoryError, or RecordingError without space.
    """
    clear_folder(run.path)
    ledger = Ledger(run.ledger_path, journal_size(max_row_bytes), synced=synced)
    ledger.known_by = known_by
    recorder = Recorder(ledger, files_of(run.path, formats, synced), formats, Tally(), synced)
    try:
        recorder.begin()
        write_run(run)
        recorder.open()
    except BaseException:
        recorder.abandon()
        raise
    return recorder


def resume(run: RunDirectory, formats: Formats, synced: bool, known_by: str = "") -> Recorder:
    """The account of a run that goes on. Raises RunDirectoryError or RecordingError."""
    ledger = Ledger(run.ledger_path, synced=synced)
    ledger.known_by = known_by
    try:
        return _resumed(run, ledger, formats, synced)
    except BaseException:
        ledger.close()
        raise


def _resumed(run: RunDirectory, ledger: Ledger, formats: Formats, synced: bool) -> Recorder:
    facts, entries = ledger.recover()
    files = files_of(run.path, formats, synced)
    if (another := passes.begun(run)) is not None:
        attempts = facts["tally"]["attempts"]
        facts, entries = passes.open_again(run, another, ledger, files, formats, attempts), []
    tally = Tally()
    tally.restore(facts["tally"])
    gaps = _taken_up(run, ledger, files, formats, facts, entries, tally)
    recorder = Recorder(ledger, files, formats, tally, synced)
    recorder.resume([_lacking(entry, gaps, tally) for entry in entries], gaps)
    recorder.open()
    return recorder


def _lacking(entry: Entry, gaps: Gaps, tally: Tally) -> Entry:
    """What of an entry of the journal is in no file yet."""
    if gaps.results is None:
        return entry
    if entry.result and _has(gaps.results, entry.row):
        entry = replace(entry, result=b"")
    tally.count_line(entry.result)
    if entry.mend and _has(gaps.mended[entry.mend], entry.row):
        entry = replace(entry, mend=Mend.NOWHERE, to_mend=b"")
    return entry


def _has(lines: bytearray, row: int) -> bool:
    """Whether a row has a line; from now on it has."""
    lines.extend(bytes(max(0, row + 1 - len(lines))))
    had, lines[row] = bool(lines[row]), 1
    return had


def _taken_up(
    run: RunDirectory,
    ledger: Ledger,
    files: Files,
    formats: Formats,
    facts: dict[str, Any],
    entries: list[Entry],
    tally: Tally,
) -> Gaps:
    """Take the files up as the ledger knows them; where they are not, keep of them what is whole."""
    intact = {name: getattr(files, name).restore(facts[name]) for name in files.facts()}
    for entry in entries:
        tally.count_line(entry.result)
    if all(intact.values()) and not facts["gaps"] and _settled(ledger) == +tally.statuses:
        return Gaps()
    log.warning("%s: files of the run were damaged; what was lost is written again", run.path)
    gaps = Gaps(_repaired_results(ledger, files.results, formats, tally))
    for mend, file in ((Mend.FAILED, files.failed), (Mend.IN_DOUBT, files.in_doubt)):
        gaps.mended[mend] = keep_only(file.path, file.path, formats.mend, lambda row, fields: True)
        file.replaced()
    return gaps


def _settled(ledger: Ledger) -> dict[Status, int]:
    counts: dict[Status, int] = {}
    for state, rows in ledger.count().items():
        if state in SETTLED:
            counts[SETTLED[state]] = counts.get(SETTLED[state], 0) + rows
        elif state is State.DAMAGED:
            counts[Status.SKIPPED] = -rows  # no account is equal to this one
    return counts


def _repaired_results(ledger: Ledger, results: LineFile, formats: Formats, tally: Tally) -> bytearray:
    fresh = Tally()

    def wanted(row: int, fields: dict[str, Any]) -> bool:
        try:
            status = Status(fields["status"])
            fresh.count(fields)
        except (KeyError, ValueError, TypeError):
            return False
        ledger.reach(row)
        if ledger.states(row, 1)[0] not in SETTLED:
            # A line was only ever written of a settled row.
            ledger.set_state(row, settled_state(status, renewed=False))
        return True

    kept = keep_only(results.path, results.path, formats.results, wanted)
    results.replaced()
    tally.restore(fresh.state())
    return kept
