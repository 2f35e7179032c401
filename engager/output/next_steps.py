"""What a person does after a run, in words and as commands.

Invariant: a command names its run and its files by whole paths, so that it works in every folder, and
contains no secret, as no option of the command line takes one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engager.config.commands import command_of
from engager.errors import Exit
from engager.events import Summary
from engager.models import Status
from engager.reader.objects import OBJECTS
from engager.reader.results import latest_results
from engager.store.run_directory import RunDirectory
from engager.store.status import needs_confirmation

#: The suffixes of the files of rows, as of inputs.
_SUFFIXES = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    text: str
    command: str | None = None  #: None if it is done without a command, or by a program


#: After a run that leaves nothing to do.
NOTHING = Step("Nothing: every row is settled.")


def next_steps(run: RunDirectory, seen: Mapping[str, Any]) -> list[Step]:
    """What to do after a run, in this order; `seen` has its `state`, `exit_code` and `statuses`."""
    whole = replace(run, path=run.path.resolve())
    if seen["state"] == "running":
        command = shlex.join(["engager", "status", str(whole.path), "--follow"])
        return [Step("The run is in progress. Wait for its end.", command)]
    if seen["state"] != "complete":
        return [_resuming(whole, seen["exit_code"])]
    return list(_after_complete(whole, seen["statuses"])) or [NOTHING]


def steps_after(run: RunDirectory, summary: Summary) -> list[Step]:
    """What to do after a run that ended with this summary."""
    state = "complete" if summary.complete else "stopped"
    facts = {"state": state, "exit_code": summary.exit_code, "statuses": summary.statuses}
    return next_steps(run, facts)


def _resuming(run: RunDirectory, exit_code: int | None) -> Step:
    if run.given_up_path.exists():
        return Step("Nothing: the run was given up.")
    unconfirmed, first = needs_confirmation(run), "Resume"
    if unconfirmed:
        first = "Check the outcomes so far, and confirm the rest: resume"
    elif exit_code == Exit.WRONG:
        first = "Fix the reason of the stop, then resume"
    elif exit_code in (Exit.STOPPED, Exit.INTERNAL):
        first = "Once the reason of the stop is gone, resume"
    if run.is_of_program:
        return Step(f"{first} the run: start the program that began it again, with the same input.")
    return Step(
        f"{first} the run, with the input that it began with.",
        command_of(run.invocation, run.input_path, run.path, yes=unconfirmed),
    )


def _after_complete(run: RunDirectory, statuses: Mapping[str, int]) -> Iterator[Step]:
    failed, in_doubt = statuses.get(Status.FAILED, 0), statuses.get(Status.IN_DOUBT, 0)
    wrong = statuses.get(Status.REJECTED, 0) + statuses.get(Status.INVALID, 0)
    if failed:
        yield _retrying(run, f"Send the failed rows ({failed:,}) again: they were certainly not engaged.")
    if in_doubt:
        yield _retrying(
            run,
            f"Look into {_file(run, 'in_doubt').name}: these people ({in_doubt:,}) may have been engaged. "
            "Look them up, and send again to those who have no message: list their keys, one per line. "
            "Without a list it is sent to all of them, and some may get a second message.",
            "--in-doubt",
            "--keys",
            "FILE",
        )
    if wrong:
        yield from _correcting(run, wrong)
    if (step := asking_for_tasks(run, statuses)) is not None:
        yield step


def asking_for_tasks(run: RunDirectory, statuses: Mapping[str, int]) -> Step | None:
    """What to do about rows that the platform has in tasks; None if no task is known of the latest ones."""
    if not statuses.get(Status.ACCEPTED):
        return None
    latest = latest_results(run.results_path)
    if not any(found.status is Status.ACCEPTED and found.reference for found in latest):
        return None
    command = shlex.join(["engager", "status", str(run.path), "--tasks"])
    return Step("Ask the platform what became of the accepted rows.", command)


def _retrying(run: RunDirectory, text: str, *options: str) -> Step:
    if run.invocation.get("reads") == OBJECTS:
        return Step(f"{text} The program that gave the rows does it: engager.retry.")
    return Step(text, shlex.join(["engager", "retry", str(run.path), *options]))


def _correcting(run: RunDirectory, rows: int) -> Iterator[Step]:
    file = _file(run, "failed")
    text = f"Correct the rejected and invalid rows ({rows:,}) in a copy of {file.name}"
    if run.is_of_program:
        yield Step(f"{text}, and send it as a new run, with after= this run.")
    elif run.identity.get("run"):  # with the same name its rows would have the Request-IDs of this run
        after = f"--after {shlex.quote(str(run.path))}"
        yield Step(f"{text}, and send it as a new run, with another job.run_name, and {after}.")
    else:
        copy = file.with_stem("corrected")
        yield Step(f"{text}.", shlex.join(["cp", str(file), str(copy)]))
        out = run.path.with_name(f"{run.path.name}-corrected")
        command = command_of(run.invocation, str(copy), out, after=(run.path,))
        yield Step("Send the corrected copy as a new run. --after leaves out whom this run reached.", command)


def _file(run: RunDirectory, name: str) -> Path:
    """The file of rows with this name, in the format of the input."""
    paths = [run.path / f"{name}{suffix}" for suffix in _SUFFIXES]
    return next((path for path in paths if path.exists()), paths[0])
