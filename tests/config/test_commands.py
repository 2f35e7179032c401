"""The command that sends, as errors, views and reports name it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from engager.config.commands import command_of

JOB = {"job": "spring job.toml", "overrides": ["limits.rate=50", "profile=stage"]}


@pytest.mark.parametrize(
    ("out", "named"), [("runs/a", "runs/a"), ("runs/{date} x", "runs/{{date}} x"), ("a'b", "a'b")]
)
def test_a_run_directory_is_named_as_it_is(out: str, named: str) -> None:
    words = shlex.split(command_of(JOB, None, Path(out)))
    assert words == [
        *("engager", "run", "spring job.toml"),
        *("--set", "limits.rate=50", "--profile", "stage"),
        *("--out", named),
    ]
    assert command_of({"job": None}, None, Path(out)) == f"engager.run(job, out={named!r})"


def test_everything_that_a_start_takes_is_named() -> None:
    runs = {"after": (Path("b"), Path("c")), "given_up": (Path("d"),), "new_address": True}
    words = shlex.split(command_of(JOB, "in.csv", Path("a"), **runs))  # type: ignore[arg-type]
    for options in ("--input in.csv", "--out a", "--after b --after c", "--give-up d", "--new-address"):
        assert options in " ".join(words)
    call = command_of({"job": None}, "in.csv", Path("a"), **runs)  # type: ignore[arg-type]
    assert call == "engager.run(job, out='a', after=['b', 'c'], give_up=['d'], new_address=True)"
