"""The facts of a run above its numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engager.altcraft.methods import METHODS, Method
from engager.output.report.figures import Figures
from engager.output.report.heading import head
from tests.output.report.made import made, outcome


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
async def test_the_scenario_is_named_whatever_the_method_calls_it(tmp_path: Path, method: Method) -> None:
    run = await made(tmp_path / "run", [outcome(1)])
    request = {"method": method.name, method.scenario: 17}
    identity = {**run.identity, "request": request}
    assert ("scenario", "17") in head(replace(run, identity=identity), Figures(), {"state": "complete"})
