"""What comes after a run never is a fault of the run, and never holds its end up for long."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from engager import Event, Exit, Reported, Summary
from engager.output.finish import MOST_ROWS, MOST_ROWS_INTERRUPTED, finish
from engager.output.report import page
from tests.output.report.made import made, outcome


def summary(rows: int, exit_code: int) -> Summary:
    return Summary(
        "spring", "77", True, exit_code, None, "", "", 1.0, 1.0, rows, {}, [], rows, 0, {}, {}, rows
    )


async def left(path: Path, rows: int = 1, exit_code: int = 0, report: bool = True) -> list[Event]:
    run, events = await made(path, [outcome(1)]), list[Event]()
    await finish(run, summary(rows, exit_code), report, (), events.append)
    return events


async def test_a_page_is_left(tmp_path: Path) -> None:
    assert await left(tmp_path) == [Reported(tmp_path, tmp_path / "report.html")]
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("rows", "code"), [(MOST_ROWS + 1, Exit.DONE), (MOST_ROWS_INTERRUPTED + 1, Exit.INTERRUPTED)]
)
async def test_a_page_of_very_many_rows_is_left_to_its_command(tmp_path: Path, rows: int, code: int) -> None:
    assert await left(tmp_path, rows, code) == [Reported(tmp_path, None)]
    assert not (tmp_path / "report.html").exists()


async def test_who_does_not_want_a_page_gets_none(tmp_path: Path) -> None:
    assert await left(tmp_path, report=False) == []
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("fault", [OSError("disk full"), ValueError("oh"), MemoryError()])
async def test_a_page_that_cannot_be_made_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(page, "page_of", fails)
    assert await left(tmp_path) == []
    assert "the report was not written" in caplog.text


async def test_who_will_not_wait_is_not_held_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_end(*_: Any, **__: Any) -> str:
        time.sleep(1)
        return ""

    monkeypatch.setattr(page, "page_of", without_end)
    run = await made(tmp_path, [outcome(1)])
    with anyio.move_on_after(0.1) as scope:
        await finish(run, summary(1, 0), True, (), lambda _: None)
    assert scope.cancelled_caught
    assert not (tmp_path / "report.html").exists()
