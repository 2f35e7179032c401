"""The alert rules and the dashboard: read as Prometheus and Grafana read them, and true to the metrics."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engager.models import Status
from engager.output import night

FOLDER = Path(__file__).parents[3] / "configs/monitoring"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return json.loads((FOLDER / "dashboard.json").read_text())  # type: ignore[no-any-return]


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    yield from (target["expr"] for panel in dashboard()["panels"] for target in panel["targets"])


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_asks_for_metrics_that_there_are(expression: str) -> None:
    assert set(re.findall(r"\bengager_\w+", expression)) <= set(night.MEANINGS)
    for asked in re.findall(r'status!?=~?"([^"]+)"', expression):
        assert set(asked.split("|")) <= set(Status)


def test_every_alert_says_what_to_do() -> None:
    assert {rule["alert"] for rule in rules()} == {
        "EngagerNightNotFinished",
        "EngagerLastStartFailed",
        "EngagerNoCompleteRun",
        "EngagerNoStart",
        "EngagerRowsInDoubt",
        "EngagerTooManyFailed",
    }
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_the_dashboard_shows_every_metric_but_the_last_end() -> None:
    shown = " ".join(target["expr"] for panel in dashboard()["panels"] for target in panel["targets"])
    assert set(re.findall(r"\bengager_\w+", shown)) == set(night.MEANINGS) - {night.END}
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {variable["name"] for variable in dashboard()["templating"]["list"]} == {"datasource", "job"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
@pytest.mark.parametrize(
    "command", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")]
)
def test_prometheus_takes_the_rules(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
