"""A run directory belongs to one input; the error for another input names both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engager.store.run_directory import RunDirectory, new_run

MARCH = {"bytes": 1_200, "sample": "a1"}
APRIL = {"bytes": 34, "sample": "b2"}


def run_of(*files: Any, name: str = "/data/march.csv") -> RunDirectory:
    run = new_run(Path("runs/spring"))
    return replace(run, identity={"input": {"files": list(files)}}, invocation={"reads": name})


def refusal(run: RunDirectory, *files: Any, name: str) -> str:
    return run.difference_of_input(list(files), name)


@pytest.mark.parametrize(
    ("run", "files", "name", "facts"),
    [
        (
            run_of(MARCH),
            [APRIL],
            "/data/april.csv",
            ["/data/march.csv (1,200 bytes)", "/data/april.csv (34 bytes)"],
        ),
        (
            run_of(MARCH),
            [],
            "stdin",
            ["/data/march.csv (1,200 bytes)", "stdin"],
        ),
        (
            run_of(MARCH, APRIL, name="/data/*.csv"),
            [MARCH],
            "/data/march.csv",
            ["/data/*.csv (1,234 bytes in 2 files)", "/data/march.csv (1,200 bytes)"],
        ),
    ],
)
def test_the_refusal_of_another_input_names_both(
    run: RunDirectory, files: list[Any], name: str, facts: list[str]
) -> None:
    message = refusal(run, *files, name=name)
    assert [fact for fact in facts if fact not in message] == []


def test_the_refusal_of_an_edited_input_names_it_once() -> None:
    message = refusal(run_of(MARCH), APRIL, name="/data/march.csv")
    assert message.count("/data/march.csv") == 1
    assert message.index("1,200 bytes") < message.index("34 bytes")
