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
    ("begun", "files", "name", "facts"),
    [
        (
            begun_with(MARCH),
            [APRIL],
            "/data/april.csv",
            ["/data/march.csv (1,200 bytes)", "/data/april.csv (34 bytes)"],
        ),
        (
            begun_with(MARCH),
            [],
            "stdin",
            ["/data/march.csv (1,200 bytes)", "stdin"],
        ),
        (
            begun_with(MARCH, APRIL, name="/data/*.csv"),
            [MARCH],
            "/data/march.csv",
            ["/data/*.csv (1,234 bytes in 2 files)", "/data/march.csv (1,200 bytes)"],
        ),
    ],
)
def test_another_input_is_refused_with_the_names_of_both(
    begun: RunDirectory, files: list[Any], name: str, facts: list[str]
) -> None:
    said = refusal(begun, *files, name=name)
    assert [fact for fact in facts if fact not in said] == []


def test_an_input_that_was_edited_is_refused_by_its_one_name() -> None:
    said = refusal(begun_with(MARCH), APRIL, name="/data/march.csv")
    assert said.count("/data/march.csv") == 1
    assert said.index("1,200 bytes") < said.index("34 bytes")
