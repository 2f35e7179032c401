"""The oracle: compares the input, the record of the endpoint and the files of the run."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engager.sandbox.server import Entry

CORRECTABLE = ("rejected", "failed", "invalid")

#: Statuses that say: no message went out.
WITHOUT_MESSAGE = (*CORRECTABLE, "skipped")


@dataclass
class Truth:
    """What is known from outside about a complete run."""

    people: Sequence[str]  #: the key of every row
    skipped: frozenset[int]  #: the rows that an uninterrupted run skips
    effects: Mapping[str, int]  #: messages that went out, by the endpoint's key
    log: Sequence[Entry]  #: every request that came, in the order in which they were answered
    once: bool  #: whether the mode and the endpoint forbid a second message
    doubtful: int | None  #: rows that may be in doubt at most; None: answers were lost in other ways, too
    repeats: int | None  #: requests that may have come a further time; None: there were other reasons, too
    damaged: bool = False  #: whether files were spoiled; a kill alone damages nothing
    passes: int = 0  #: further passes, which give failed rows new Request-IDs
    batch: int = 0  #: rows of a batch; 0: the method carries one row

    @property
    def rows(self) -> int:
        return len(self.people)

    @property
    def sendable(self) -> int:
        return sum("@" in person for person in self.people) - len(self.skipped)


def run_faults(run: Path, truth: Truth) -> list[str]:
    """All faults of a run; empty if there are none."""
    try:
        results = _results(run)
    except ValueError as fault:
        return [f"the results cannot be read: {fault}"]
    summary = json.loads((run / "summary.json").read_text())
    wrong = list(_count_faults(results, summary, truth.rows))
    for line in results:
        wrong += _effect_faults(line, _effects(truth, line["row"]), truth.once)
    wrong += _skip_faults(results, truth.skipped)
    try:
        wrong += _reject_file_faults(run, results)
    except ValueError as fault:
        wrong.append(f"the rows that were kept cannot be read: {fault}")
    doubtful = sum(line["status"] == "in_doubt" for line in results)
    if truth.doubtful is not None and doubtful > truth.doubtful:
        wrong.append(f"{doubtful} rows in doubt, and only {truth.doubtful} may be")
    known = Counter(line["request_id"] for line in results if line["request_id"])
    most = max(1, truth.batch)
    wrong += [f"{count} rows have the Request-ID {id_}" for id_, count in known.items() if count > most]
    if not truth.damaged and (
        lost := [line["row"] for line in results if "damaged" in (line["error_text"] or "")]
    ):
        wrong.append(f"the lines of rows {lost[:10]} were lost, and no file was damaged")
    return wrong + list(_request_faults(truth)) + list(_unconfirmed_rows(results, truth))


def status_faults(status: dict[str, Any], rows: int, concurrency: int, settled: int) -> Iterator[str]:
    """All faults of a report of `status`; `settled` rows were settled at the last one."""
    if status["rows"] != sum(status["statuses"].values()):
        yield f"status does not add up: {status}"
    if status["rows"] + status["open"] + status["pending_retry"] > rows:
        yield f"status knows of more than {rows} rows: {status}"
    if status["open"] > concurrency:
        yield f"{status['open']} rows were in flight with a concurrency of {concurrency}"
    if status["rows"] < settled:
        yield f"{status['rows']} rows are settled, and {settled} were before"


def _request_faults(truth: Truth) -> Iterator[str]:
    """The faults in the requests that the endpoint received."""
    if truth.repeats is not None and (over := len(truth.log) - truth.sendable - truth.repeats) > 0:
        yield f"{len(truth.log)} requests, {over} more than the rows and those that were in flight"
    keys, spent, last = dict[str, Any](), set[Any](), dict[str, Any]()
    for entry in truth.log:
        if not entry.keys:
            continue  # a fault occurred before the endpoint read it
        if keys.setdefault(entry.request_id, entry.keys) != entry.keys:
            yield f"{entry.keys} and {keys[entry.request_id]} came under one Request-ID"
        if truth.batch:
            continue  # a row goes through many batches, and its effects say whether that was right
        before = last.setdefault(entry.key, entry.request_id)
        if before != entry.request_id and before not in spent and not truth.passes:
            yield f"{entry.key} came under another Request-ID, and the first was not settled"
        last[entry.key] = entry.request_id
        if entry.duplicate and entry.error:
            spent.add(entry.request_id)


def _unconfirmed_rows(results: list[dict[str, Any]], truth: Truth) -> Iterator[str]:
    """Rows that are engaged under an id for which the endpoint reported no success."""
    if truth.damaged:
        return  # a bit that flips in the text of a line is seen by nobody
    confirmed = {
        (key, entry.request_id)
        for entry in truth.log
        for key, error, effect in zip(entry.keys, entry.errors, entry.effects, strict=True)
        if error == 0 or effect  # a list of ids has those whose fault followed the message
    }
    for line in results:
        claim = (f"email={line['key']}", line["request_id"])
        if line["status"] == "engaged" and line["request_id"] and claim not in confirmed:
            yield f"row {line['row']}: engaged under {line['request_id']}, which the endpoint did not confirm"


def _results(run: Path) -> list[dict[str, Any]]:
    return _lines(next(run / name for name in ("results.jsonl", "results.csv") if (run / name).exists()))


def _lines(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    with path.open(newline="", encoding="utf-8", errors="replace") as file:  # a bit may have flipped
        return [{**line, "row": int(line["row"])} for line in csv.DictReader(file)]


def due_lines(run: Path, statuses: Collection[str]) -> dict[int, Any]:
    """The lines of a complete run that a further pass over these statuses sets aside, by their rows."""
    return {line["row"]: line for line in _results(run) if line["status"] in statuses}


def pass_faults(run: Path, number: int, due: Mapping[int, Any]) -> Iterator[str]:
    """The faults of the results that a further pass set aside: they are the lines that it sent again."""
    aside = [line for path in run.glob(f"results.{number}.*") for line in _lines(path)]
    if {line["row"]: line for line in aside} != due or len(aside) != len(due):
        rows = sorted(line["row"] for line in aside)
        yield f"pass {number} set the lines of {rows} aside, and those of {sorted(due)} were due"


def _count_faults(results: list[dict[str, Any]], summary: dict[str, Any], rows: int) -> list[str]:
    wrong = []
    lines = Counter(line["row"] for line in results)
    if missing := [row for row in range(1, rows + 1) if row not in lines]:
        wrong.append(f"no line for the rows {missing[:10]}")
    wrong += [f"row {row} has {count} lines" for row, count in lines.items() if count > 1 or row > rows]
    statuses = Counter(line["status"] for line in results)
    reported = {status: count for status, count in summary["statuses"].items() if count}
    if reported != statuses or summary["rows"] != rows or not summary["complete"]:
        wrong.append(
            f"the summary says {reported} of {summary['rows']}, the results {dict(statuses)} of {rows}"
        )
    return wrong


def _effects(truth: Truth, row: int) -> int:
    """The messages to a row's person, written as that row writes it."""
    return truth.effects.get(f"email={truth.people[row - 1]}", 0) if 0 < row <= truth.rows else 0


def _skip_faults(results: list[dict[str, Any]], skipped: frozenset[int]) -> list[str]:
    """The faults in skipped rows: they must be those that an uninterrupted run skips."""
    reported = {line["row"] for line in results if line["status"] == "skipped"}
    wrong = []
    if more := reported - skipped:
        wrong.append(f"the rows {sorted(more)[:10]} were skipped, and are no repeats")
    if less := skipped - reported:
        wrong.append(f"the rows {sorted(less)[:10]} are repeats, and were not skipped")
    return wrong


def _effect_faults(line: dict[str, Any], effects: int, once: bool) -> list[str]:
    status = line["status"]
    wrong = []
    if once and effects > 1:
        wrong.append(f"row {line['row']}: {effects} messages")
    if status == "engaged" and not effects:
        wrong.append(f"row {line['row']}: engaged is claimed, and no message went out")
    if status in WITHOUT_MESSAGE and effects:
        wrong.append(f"row {line['row']}: {status} is claimed, and {effects} messages went out")
    return wrong


def _reject_file_faults(run: Path, results: list[dict[str, Any]]) -> list[str]:
    wrong = []
    for name, statuses in (("failed", CORRECTABLE), ("in_doubt", ("in_doubt",))):
        expected = Counter(line["row"] for line in results if line["status"] in statuses)
        path = next(
            (run / f"{name}{suffix}" for suffix in (".csv", ".jsonl") if (run / f"{name}{suffix}").exists()),
            None,
        )
        kept = Counter(_rows_of(path)) if path else Counter()
        if kept != expected:
            wrong.append(f"{name}: it has {sorted(kept.elements())}, not {sorted(expected.elements())}")
    return wrong


def _rows_of(path: Path) -> list[int]:
    if path.suffix == ".jsonl":
        return [json.loads(line)["engager_row"] for line in path.read_bytes().splitlines()]
    with path.open(newline="", encoding="utf-8", errors="replace") as file:  # a bit may have flipped
        return [int(line["engager_row"]) for line in csv.DictReader(file)]
