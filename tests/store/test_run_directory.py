"""A run directory belongs to one input; the error for another one names both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engager.store.run_directory import RunDirectory, new_run

MARCH = {"bytes": 1_200, "sample": "a1"}
APRIL = {"bytes": 34, "sample": "b2"}


def begun_with(*files: Any, name: str = "/data/march.csv") -> RunDirectory:
    run = new_run(Path("runs/spring"))
    return replace(run, identity={"input": {"files": list(files)}}, invocation={"reads": name})


def refusal(run: RunDirectory, *files: Any, name: str) -> str:
    return run.difference_of_input(list(files), name)


@pytest.mark.parametrize(
    ("begun", "files", "name", "fact"),
    [
        (
            begun_with(MARCH),
            [APRIL],
            "/data/april.csv",
            "began with /data/march.csv (1,200 bytes), and /data/april.csv (34 bytes) is another input",
        ),
        (
            begun_with(MARCH),
            [],
            "stdin",
            "began with /data/march.csv (1,200 bytes), and stdin (a stream) is another input",
        ),
        (
            begun_with(MARCH, APRIL, name="/data/*.csv"),
            [MARCH],
            "/data/march.csv",
            "began with /data/*.csv (1,234 bytes in 2 files), and /data/march.csv (1,200 bytes) is another",
        ),
    ],
)
def test_another_input_is_refused_with_the_names_of_both(
    begun: RunDirectory, files: list[Any], name: str, fact: str
) -> None:
    said = refusal(begun, *files, name=name)
    assert fact in said


def test_an_input_that_was_edited_is_refused_by_its_one_name() -> None:
    said = refusal(begun_with(MARCH), APRIL, name="/data/march.csv")
    assert "/data/march.csv has changed since this run began with it: 1,200 bytes then, 34 bytes now" in said
