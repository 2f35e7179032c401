"""A pass over those in-doubt rows whose people were looked up and have no message."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import engager
from engager import Control, Event, Progressed, Result, Status

COUNT = 40


def job(folder: Path, **tables: Any) -> engager.JobFile:
    """A job whose responses are lost for some rows, which are then in doubt."""
    return engager.build_job(
        {
            "job": {"name": "test"},
            "endpoint": {"url": "sandbox"},
            "input": {"path": "people.csv"},
            "request": {"id": 12, "email": "{email}"},
            "delivery": {"mode": "at-most-once"},
            "retry": {"attempts": 1},
            "breaker": {"failures": 0},
            "sandbox": {
                "faults": {"reset_after": 0.3, "429": 0.2},
                "seed": 3,
                "log_file": str(folder / "sandbox.log"),
            },
            **tables,
        },
        base=folder,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = "".join(f"P{number}@example.com\n" for number in range(1, COUNT + 1))
    (tmp_path / "people.csv").write_text(f"email\n{rows}")
    return tmp_path


def outcomes(out: Path) -> dict[int, Result]:
    return {found.row: found for found in engager.outcomes(out)}


def keys_of(out: Path, status: Status) -> list[str]:
    return [found.key or "" for found in outcomes(out).values() if found.status is status]


def sent(folder: Path) -> list[str]:
    """The keys of the rows that the endpoint was sent, one for each request."""
    log = (folder / "sandbox.log").read_text().splitlines()
    return [key.rpartition("=")[2] for line in log for key in json.loads(line)["keys"]]


WELL = ["sandbox.faults={}"]


def test_only_listed_rows_in_doubt_are_sent_again_and_the_others_stay_as_they_are(folder: Path) -> None:
    engager.run(job(folder), out=folder / "run")
    before, already = outcomes(folder / "run"), sent(folder)
    doubtful, failed = (keys_of(folder / "run", status) for status in (Status.IN_DOUBT, Status.FAILED))
    assert min(len(doubtful), len(failed)) > 3
    listed = [key.upper() for key in doubtful[:3]]  # keys are compared as the run compares them
    summary = engager.retry(folder / "run", in_doubt=True, keys=["# looked up", "", *listed], overrides=WELL)
    assert sorted(sent(folder)[len(already) :]) == sorted(doubtful[:3] + failed)
    assert summary.statuses["in_doubt"] == len(doubtful) - 3
    after = outcomes(folder / "run")
    untouched = {row for row, found in before.items() if found.key not in {*doubtful[:3], *failed}}
    assert {row: after[row] for row in untouched} == {row: before[row] for row in untouched}
    assert all(after[row].status is Status.ENGAGED for row in after.keys() - untouched)
    kept = (folder / "run/in_doubt.csv").read_text().splitlines()[1:]
    assert sorted(line.partition(",")[0] for line in kept) == sorted(doubtful[3:])


def test_a_batch_of_which_not_every_row_is_listed_is_not_repeated(folder: Path) -> None:
    request = {"method": "import_and_start_batch", "workflow_id": 12, "email": "{email}"}
    batches = job(
        folder,
        request=request,
        batch={"rows": 10},
        sandbox={"faults": {"reset_after": 1.0}, "log_file": str(folder / "sandbox.log")},
    )
    engager.run(batches, out=folder / "run")
    assert len(keys_of(folder / "run", Status.IN_DOUBT)) == COUNT
    already = len(sent(folder))
    # Of the first batch its first rows, of the second one in its middle, of the third all.
    listed = [*range(1, 6), 14, *range(21, 31)]
    keys = [f"p{number}@example.com" for number in listed]
    summary = engager.retry(folder / "run", in_doubt=True, keys=keys, overrides=WELL)
    assert sorted(map(str.lower, sent(folder)[already:])) == sorted(keys)
    assert (summary.statuses["engaged"], summary.statuses["in_doubt"]) == (len(listed), COUNT - len(listed))


@pytest.mark.parametrize("unknown", [["engaged"], ["nobody@example.com"], [], ["not an address"]])
def test_a_key_that_chooses_no_row_is_refused_before_a_row_is_sent(folder: Path, unknown: list[str]) -> None:
    engager.run(job(folder), out=folder / "run")
    if unknown == ["engaged"]:
        unknown = keys_of(folder / "run", Status.ENGAGED)[:1]
    before, already = outcomes(folder / "run"), sent(folder)
    keys = [*keys_of(folder / "run", Status.IN_DOUBT)[:1], *unknown] if unknown else []
    with pytest.raises(engager.InputError, match=unknown[0] if unknown else "no key"):
        engager.retry(folder / "run", in_doubt=True, keys=keys, overrides=WELL)
    assert (outcomes(folder / "run"), sent(folder)) == (before, already)


@pytest.mark.parametrize("options", [{"keys": ["a@example.com"]}, {"keys": "a@b.org", "in_doubt": True}])
def test_keys_are_a_list_that_chooses_among_rows_in_doubt(folder: Path, options: dict[str, Any]) -> None:
    engager.run(job(folder), out=folder / "run")
    with pytest.raises(engager.JobError, match="in_doubt"):
        engager.retry(folder / "run", **options)


def test_a_pass_that_was_stopped_is_resumed_by_its_own_list_only(folder: Path) -> None:
    engager.run(job(folder), out=folder / "run")
    doubtful, already = keys_of(folder / "run", Status.IN_DOUBT), len(sent(folder))
    failed = keys_of(folder / "run", Status.FAILED)
    control = Control()

    def stop(event: Event) -> None:
        if isinstance(event, Progressed):
            control.stop("enough")

    def again(keys: Sequence[str], watch: Callable[[Event], None], *more: str) -> engager.Summary:
        return engager.retry(
            folder / "run",
            in_doubt=True,
            keys=keys,
            overrides=[*WELL, *more],
            watch=watch,
            control=control if watch is stop else None,
        )

    stopped = again(doubtful[:4], stop, "limits.rate=3", "limits.concurrency=1")
    assert not stopped.complete
    with pytest.raises(engager.RunDirectoryError, match="another pass"):
        again(doubtful[:3], lambda event: None)
    assert again(doubtful[3::-1], lambda event: None).complete
    assert sorted(sent(folder)[already:]) == sorted(doubtful[:4] + failed)


def test_the_command_reads_the_list_from_a_file_or_stdin(folder: Path) -> None:
    engager.run(job(folder, sandbox={"faults": {"reset_after": 0.3}, "seed": 3}), out=folder / "run")
    doubtful = keys_of(folder / "run", Status.IN_DOUBT)
    (folder / "keys.txt").write_text("\ufeff" + "\r\n".join(doubtful[:2]))

    def retry(*options: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "engager", "retry", str(folder / "run"), "--set", *WELL, *options]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

    assert retry("--keys", str(folder / "keys.txt")).returncode == 2
    assert retry("--in-doubt", "--keys", str(folder / "missing.txt")).returncode == 2
    assert keys_of(folder / "run", Status.IN_DOUBT) == doubtful
    assert retry("--in-doubt", "--keys", str(folder / "keys.txt")).returncode == 1
    assert keys_of(folder / "run", Status.IN_DOUBT) == doubtful[2:]
    assert retry("--in-doubt", "--keys", "-", stdin="\n".join(doubtful[2:])).returncode == 0
    assert keys_of(folder / "run", Status.IN_DOUBT) == []
