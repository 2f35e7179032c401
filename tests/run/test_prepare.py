"""What a run says before its first row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engager import build_job
from engager.altcraft.methods import METHODS
from engager.events import Summary
from engager.run.prepare import prepare


def notes_of(folder: Path, method: str, **limits: Any) -> list[str]:
    (folder / "people.csv").write_text("email\na@x.org\n")
    tables = {
        "job": {"name": "test"},
        "endpoint": {"url": "sandbox"},
        "input": {"path": "people.csv"},
        "request": {"method": method, METHODS[method].scenario: 12, "email": "{email}"},
        "limits": limits,
    }
    run = prepare(build_job(tables, base=folder), folder / "run", None)
    assert not isinstance(run, Summary)
    run.resources.close()
    return run.builder.notes


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("limits", [{}, {"rate": 2}])
def test_a_rate_of_batches_is_said_in_people(tmp_path: Path, method: str, limits: dict[str, Any]) -> None:
    notes = notes_of(tmp_path, method, **limits)
    if limits and METHODS[method].is_batch:
        assert "2 requests and 1,000 people" in notes[0]
    else:
        assert notes == []
