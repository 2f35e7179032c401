"""Airflow and Prefect: each example's task is carried out; only the orchestrator's own names are stand-ins.

What is returned, what is raised to be retried, and what is raised to fail for good is all it can say.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from types import ModuleType, SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import engager
from engager.errors import BusyError
from engager.store.run_directory import lock_folder

SCHEDULERS = Path(__file__).parents[3] / "configs/schedulers"

#: In Moscow it is the next day already.
SCHEDULED = datetime(2026, 11, 23, 23, 15, tzinfo=UTC)


@dataclass
class Orchestrated:
    """An example that was imported: its task, and what it makes of a failure."""

    carry_out: Callable[[], Any]
    retries: Callable[[Exception], bool]
    settings: dict[str, Any] = field(default_factory=dict)


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **names: Any) -> None:
    module = ModuleType(name)
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, name, module)


def imported(name: str, home: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, SCHEDULERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert str(module.HOME) == "/srv/engager"
    module.HOME = home  # type: ignore[attr-defined]
    return module


class AirflowFailException(Exception):  # noqa: N818
    pass


def airflow(monkeypatch: pytest.MonkeyPatch, home: Path) -> Orchestrated:
    tasks: list[Callable[..., Any]] = []
    settings: dict[str, Any] = {}

    def decorator(**given: Any) -> Callable[..., Any]:
        settings.update(given)
        return lambda function: function

    def task(**given: Any) -> Callable[..., Any]:
        settings.update(given)
        return lambda function: lambda: tasks.append(function)

    def moment(*parts: int, tz: ZoneInfo) -> datetime:
        return datetime(*parts, tzinfo=tz)  # type: ignore[arg-type,misc]

    stand_in(monkeypatch, "pendulum", timezone=ZoneInfo, datetime=moment)
    stand_in(monkeypatch, "airflow")
    stand_in(monkeypatch, "airflow.sdk", dag=decorator, task=task)
    stand_in(monkeypatch, "airflow.sdk.exceptions", AirflowFailException=AirflowFailException)
    imported("airflow_dag", home)
    run = SimpleNamespace(run_after=SCHEDULED)
    [engage] = tasks
    return Orchestrated(
        lambda: engage(dag_run=run), lambda fault: not isinstance(fault, AirflowFailException), settings
    )


def prefect(monkeypatch: pytest.MonkeyPatch, home: Path) -> Orchestrated:
    settings: dict[str, Any] = {}

    def task(**given: Any) -> Callable[..., Any]:
        settings.update(given)
        return lambda function: function

    def state(fault: Exception) -> Any:
        return SimpleNamespace(result=lambda raise_on_failure: fault)

    def logger() -> logging.Logger:
        return logging.getLogger("airflow.task")

    stand_in(monkeypatch, "prefect", flow=lambda function: function, task=task, get_run_logger=logger)
    flow_run = SimpleNamespace(get_scheduled_start_time=lambda: SCHEDULED)
    stand_in(monkeypatch, "prefect.runtime", flow_run=flow_run)
    stand_in(monkeypatch, "prefect.schedules", Cron=None)
    module = imported("prefect_flow", home)
    retries = settings["retry_condition_fn"]
    return Orchestrated(module.nightly_orders, lambda fault: retries(None, None, state(fault)), settings)


@pytest.fixture(params=[airflow, prefect], ids=["airflow", "prefect"])
def orchestrated(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], Orchestrated]:
    return lambda home: request.param(monkeypatch, home)


def raised_by(example: Orchestrated) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one it is, is for the example to say
        example.carry_out()
    return caught.value


def test_everybody_is_engaged_in_a_run_of_the_scheduled_day(machine_beside: Any, orchestrated: Any) -> None:
    m = machine_beside()
    example = orchestrated(m.home)
    for _ in range(2):
        statuses = example.carry_out()
        assert statuses["engaged"] == 40
    assert (m.home / "runs/nightly-2026-11-24/results.csv").exists()
    assert len(m.sandbox.log) == 40
    assert example.settings["retries"] > 0


def test_progress_is_in_the_log_of_the_task_and_not_with_every_event(
    machine_beside: Any, orchestrated: Any, caplog: pytest.LogCaptureFixture
) -> None:
    m = machine_beside(latency="100ms")
    caplog.set_level(logging.INFO, "airflow.task")
    orchestrated(m.home).carry_out()
    [line] = [record for record in caplog.records if record.name == "airflow.task"]
    assert "engaged" in line.getMessage()


def test_a_run_that_was_stopped_is_retried_and_goes_on(machine_beside: Any, orchestrated: Any) -> None:
    m = machine_beside(tariff_limit=10)
    example = orchestrated(m.home)
    fault = raised_by(example)
    assert "tariff" in str(fault)
    assert example.retries(fault)
    m.sandbox.brain.config = replace(m.sandbox.brain.config, tariff_limit=None)
    assert example.carry_out()["engaged"] == 40
    assert sum(m.engaged.values()) == 40


def test_a_run_that_is_under_way_is_tried_again_later(machine_beside: Any, orchestrated: Any) -> None:
    m = machine_beside()
    example = orchestrated(m.home)
    lock = lock_folder(m.home / "runs/nightly-2026-11-24")
    fault = raised_by(example)
    lock.release()
    assert isinstance(fault, BusyError)
    assert example.retries(fault)


@pytest.mark.parametrize(
    ("file", "text", "fact"),
    [
        ("data/nightly.jsonl", '{"phone": "nobody"}\n', "some were not engaged"),
        ("nightly.toml", "[limit]\nrate = 1\n", "did you mean 'limits'"),
    ],
)
def test_what_is_for_a_person_is_not_retried(
    machine_beside: Any, orchestrated: Any, file: str, text: str, fact: str
) -> None:
    m = machine_beside()
    with (m.home / file).open("a") as end:
        end.write(text)
    example = orchestrated(m.home)
    fault = raised_by(example)
    assert fact in str(fault)
    assert not example.retries(fault)


def test_a_sigterm_lets_what_is_in_flight_end(machine_beside: Any, orchestrated: Any) -> None:
    m = machine_beside(latency="50ms")
    with (m.home / "data/nightly.jsonl").open("a") as end:
        end.writelines(f'{{"phone": "+7916{n:07}"}}\n' for n in range(2000))
    example = orchestrated(m.home)

    def terminate() -> None:
        while len(m.sandbox.log) < 10:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=terminate).start()
    fault = raised_by(example)
    assert "SIGTERM" in str(fault)
    assert example.retries(fault)
    assert 10 <= sum(m.engaged.values()) == len(m.sandbox.log) < 2040
    status = engager.status(m.home / "runs/nightly-2026-11-24")
    assert (status["open"], status["statuses"]["in_doubt"]) == (0, 0)
    assert status["rows"] == len(m.sandbox.log)
