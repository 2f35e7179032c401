"""Finds the rows of a person, or with a status, in runs: also in one in progress, and after a crash.

Invariant: a row that may have reached the person is never left out in silence: where the key of a row in
flight cannot be determined, the run says how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from engager.altcraft.methods import START, method_of
from engager.altcraft.parameters import DEFAULT_MATCHING
from engager.errors import RunDirectoryError
from engager.models import Status
from engager.reader.outcome_fields import MAX_KEY
from engager.reader.results import Matches, Result, results_of
from engager.requests.key_forms import fold_of, listed_keys
from engager.run.earlier_runs import keys_in_flight
from engager.store import passes
from engager.store.beneath import runs_beneath
from engager.store.lock import RunLock
from engager.store.run_directory import RunDirectory
from engager.store.state import RunState
from engager.store.status import existing_run, results_so_far, state_so_far


class Stage(StrEnum):
    """How far a row is."""

    SETTLED = "settled"  #: it has its outcome
    IN_FLIGHT = "in_flight"  #: sent, without an outcome yet: the run is in progress
    INTERRUPTED = "interrupted"  #: sent, without an outcome when the run ended: it may have been engaged
    PENDING = "pending"  #: `retry` sends it again; the outcome is its previous one


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row of a run."""

    row: int  #: counted from 1
    key: str | None
    stage: Stage
    result: Result | None  #: the line of its outcome, or of its previous one; None before it has one

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON values: its stage, and the columns of results."""
        line = dict.fromkeys(Result.__dataclass_fields__) if self.result is None else asdict(self.result)
        return {**line, "row": self.row, "key": self.key, "stage": str(self.stage)}


@dataclass(frozen=True, slots=True)
class SearchedRun:
    """A run in which rows were looked for."""

    directory: Path
    endpoint: str  #: its address, or `sandbox`, which reaches nobody
    matched_by: str  #: the parameter whose value is the key
    in_progress: bool
    without_outcome: int  #: rows that were sent and have no outcome yet
    undetermined: int  #: those of them whose key cannot be determined
    #: Rows that the input has and that have no outcome yet, sent or not; None where that is unknown.
    left: int | None
    rows: Iterable[FoundRow]  #: what was found, once

    def as_dict(self) -> dict[str, Any]:
        """The run with its rows as JSON values."""
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**facts, "directory": str(self.directory), "rows": [row.as_dict() for row in self.rows]}


def find_key(paths: Sequence[Path], key: str) -> Iterator[SearchedRun]:
    """Look for a key in runs, and in all runs beneath folders. Raises RunDirectoryError."""
    for run in _each(paths):
        found, in_progress, state = _read(run)
        of_key, rows = _matching(found, key), dict[int, FoundRow]()
        matches = _with_invalid(of_key, key)
        for path in passes.set_aside(found):
            rows |= {line.row: _row(line, Stage.PENDING) for line in results_of(path, matches)}
        for line in results_so_far(found, state, matches):
            rows[line.row] = _row(line, Stage.SETTLED)
        sent = Stage.IN_FLIGHT if in_progress else Stage.INTERRUPTED
        flying, undetermined = _in_flight(found, state, of_key)
        for row, its_key in flying:
            before = rows.get(row)
            if before is None or before.stage is not Stage.SETTLED:  # it may have been settled meanwhile
                rows[row] = FoundRow(row, its_key, sent, before.result if before else None)
        yield _searched(found, in_progress, state, undetermined, [rows[row] for row in sorted(rows)])


def _with_invalid(of_key: Callable[[str | None], bool], key: str) -> Matches:
    """Accepts lines with a key, and those of rows that are invalid because of it: their text quotes it."""
    raw = repr(key.strip())

    def matches(its_key: str | None, status: str, text: str | None) -> bool:
        return of_key(its_key) or (status == Status.INVALID and raw in (text or ""))

    return matches


def find_statuses(paths: Sequence[Path], statuses: Collection[Status]) -> Iterator[SearchedRun]:
    """The rows of runs that have one of these statuses; they are read while they are iterated over.

    Rows in flight when a run stopped are among those in doubt: they may have been engaged.
    """
    for path in _each(paths):
        found, in_progress, state = _read(path)
        lines = (line for line in results_so_far(found, state) if line.status in statuses)
        rows = (_row(line, Stage.SETTLED) for line in lines)
        if in_progress or Status.IN_DOUBT not in statuses:
            yield _searched(found, in_progress, state, len(state.open), rows)
            continue
        flying, undetermined = _in_flight(found, state, lambda _: True)
        interrupted = (FoundRow(row, key, Stage.INTERRUPTED, None) for row, key in flying)
        yield _searched(found, in_progress, state, undetermined, chain(rows, interrupted))


def _each(paths: Sequence[Path]) -> Iterator[Path]:
    """Every run once, although a folder may be named beside a run in it."""
    found = dict[Path, Path]()
    for run in (run for path in paths for run in runs_beneath(path)):
        found.setdefault(run.resolve(), run)
    yield from found.values()


def _read(path: Path) -> tuple[RunDirectory, bool, RunState]:
    found = existing_run(path)
    in_progress = RunLock.is_held(found.lock_path)
    return found, in_progress, state_so_far(found)


def _searched(
    found: RunDirectory, in_progress: bool, state: RunState, undetermined: int, rows: Iterable[FoundRow]
) -> SearchedRun:
    total = found.invocation.get("rows")
    return SearchedRun(
        found.path,
        found.endpoint,
        _key_field(found),
        in_progress,
        len(state.open) + state.lost_rows,
        undetermined + state.lost_rows,
        None if total is None else max(0, total - state.rows.count_statuses().total()),
        rows,
    )


def _row(line: Result, stage: Stage) -> FoundRow:
    return FoundRow(line.row, line.key, stage, line)


def _in_flight(
    found: RunDirectory, state: RunState, matches: Callable[[str | None], bool]
) -> tuple[list[tuple[int, str]], int]:
    """The rows with this key that have no outcome yet, and how many there are whose key is unknown."""
    missing, rows = len(state.open), list[tuple[int, str]]()
    try:
        for row, key in keys_in_flight(found, frozenset(state.open)):
            missing -= 1
            if matches(key):
                rows.append((row, key))
    except RunDirectoryError:
        return rows, missing
    return rows, 0


def _key_field(found: RunDirectory) -> str:
    """The parameter that the run matches people by."""
    request = found.identity["request"]
    if "custom_request" in request:
        return "custom_request"
    mode = request.get("matching", DEFAULT_MATCHING)
    return (method_of(request) or START).modes(True)[mode].fields[0]


def _matching(found: RunDirectory, key: str) -> Callable[[str | None], bool]:
    """Whether a key of the run means the same person as the given one."""
    forms = KeyForms(found)
    wanted = forms.of_given(key)
    return lambda other: other is not None and other != "" and not wanted.isdisjoint(forms.of_stored(other))


class KeyForms:
    """The forms of keys in a run: two keys that have one in common mean the same person."""

    def __init__(self, found: RunDirectory) -> None:
        self._field = _key_field(found)
        self._fold = None
        if self._field != "custom_request":
            self._fold = fold_of(self._field, region=found.identity["input"].get("region"))

    def of_given(self, key: str) -> set[str]:
        """The forms of a key that a person gives; none of a blank or a comment."""
        listed = listed_keys(key, self._field)
        if listed == []:
            return set()
        text = key.strip()[:MAX_KEY]
        return {text} if self._fold is None else {text, *map(self._fold, listed or ())}

    def of_stored(self, key: str) -> set[str]:
        """The forms of a key in results."""
        return {key, *_scalars(key)} if self._fold is None else {key.strip(), self._fold(key)}


def _scalars(query: str) -> set[str]:
    """The single values of a query, as texts."""
    try:
        waiting, found = [orjson.loads(query)], set[str]()
    except orjson.JSONDecodeError:  # it is longer than a key is stored
        return set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
        else:
            found.add(str(value))
    return found
