"""The judge: holds the input, the endpoint's own account and the run's files against each other."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MENDABLE = ("rejected", "failed", "invalid")


@dataclass
class Truth:
    """What is known from outside of a run that has come to its end."""

    rows: int
    effects: Mapping[str, int]  #: messages that went out, by the endpoint's key
    once: bool  #: whether the mode and the endpoint forbid a second message
    uncertain: int  #: rows that may be in doubt for the kills: the crew, for each of them
    faults: bool  #: whether answers were lost in other ways, too


def judged(run: Path, truth: Truth) -> list[str]:
    """Everything that is wrong with a run; nothing, if all is well."""
    try:
        results = _results(run)
    except ValueError as fault:
        return [f"the results cannot be read: {fault}"]
    summary = json.loads((run / "summary.json").read_text())
    wrong = list(_account(results, summary, truth.rows))
    for line in results:
        wrong += _claim(line, truth.effects.get(f"email={line['key']}", 0), truth.once)
    wrong += _kept(run, results)
    doubtful = sum(line["status"] == "in_doubt" for line in results)
    if not truth.faults and doubtful > truth.uncertain:
        wrong.append(f"{doubtful} rows in doubt, and only {truth.uncertain} can have been in flight")
    ids = Counter(line["request_id"] for line in results if line["request_id"])
    wrong += [f"{count} rows have the Request-ID {id_}" for id_, count in ids.items() if count > 1]
    return wrong


def _results(run: Path) -> list[dict[str, Any]]:
    if (run / "results.jsonl").exists():
        return [json.loads(line) for line in (run / "results.jsonl").read_bytes().splitlines()]
    with (run / "results.csv").open(newline="") as file:
        return [{**line, "row": int(line["row"])} for line in csv.DictReader(file)]


def _account(results: list[dict[str, Any]], summary: dict[str, Any], rows: int) -> list[str]:
    wrong = []
    lines = Counter(line["row"] for line in results)
    if missing := [row for row in range(1, rows + 1) if row not in lines]:
        wrong.append(f"no line for the rows {missing[:10]}")
    wrong += [f"row {row} has {count} lines" for row, count in lines.items() if count > 1 or row > rows]
    statuses = Counter(line["status"] for line in results)
    told = {status: count for status, count in summary["statuses"].items() if count}
    if told != statuses or summary["rows"] != rows or not summary["complete"]:
        wrong.append(f"the summary says {told} of {summary['rows']}, the results {dict(statuses)} of {rows}")
    return wrong


def _claim(line: dict[str, Any], effects: int, once: bool) -> list[str]:
    status = line["status"]
    wrong = []
    if once and effects > 1:
        wrong.append(f"row {line['row']}: {effects} messages")
    if status == "engaged" and not effects:
        wrong.append(f"row {line['row']}: engaged is claimed, and no message went out")
    if status in MENDABLE and effects:
        wrong.append(f"row {line['row']}: {status} is claimed, and {effects} messages went out")
    return wrong


def _kept(run: Path, results: list[dict[str, Any]]) -> list[str]:
    wrong = []
    for name, statuses in (("failed", MENDABLE), ("in_doubt", ("in_doubt",))):
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
    with path.open(newline="") as file:
        return [int(line["engager_row"]) for line in csv.DictReader(file)]
