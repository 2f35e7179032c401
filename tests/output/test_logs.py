"""What a program reads on stderr: a JSON object a line, whatever happens."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from engager.events import Progressed, Serving, ignore_events
from engager.output.logs import EventLog, JsonFormatter, logged
from tests.output.test_progress import NOW


def test_an_event_is_a_record_with_its_facts() -> None:
    records = list[logging.LogRecord]()
    EventLog(records.append)(Serving("http://127.0.0.1:1/?key=secret"))
    line = json.loads(JsonFormatter().format(records[0]))
    assert (line["event"], line["url"], line["level"]) == ("serving", "http://127.0.0.1:1/", "info")


def test_paths_are_texts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "engager"):
        logging.getLogger("engager").info("x", extra={"facts": {"directory": Path("runs/a")}})
    assert json.loads(JsonFormatter().format(caplog.records[0]))["directory"] == "runs/a"


def test_why_no_request_leaves_is_logged_when_it_begins_and_ends(tmp_path: Path) -> None:
    """Progress is not logged: it has texts of rows."""
    with logged("json") as log:
        log.opens(tmp_path / "log")
        watch = log.with_log(ignore_events)
        for waits_for, holders in (
            (None, {}),
            ("it", {}),
            ("it", {}),
            (None, {"window": "opens 09:00"}),
            (None, {}),
        ):
            watch(Progressed(replace(NOW, waits_for=waits_for, holders=holders)))
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("waiting", "warning"),
        ("waiting", "warning"),
        ("sending", "info"),
    ]
    assert "opens 09:00" in lines[1]["waits"][0]


def test_progress_is_logged_at_once_when_no_request_leaves() -> None:
    records = list[logging.LogRecord]()
    log = EventLog(records.append)
    for seconds, waits_for in ((1.0, None), (1.25, "it"), (1.5, "it"), (11.0, "it"), (11.5, "it")):
        log(Progressed(replace(NOW, elapsed_seconds=seconds, waits_for=waits_for)))
    facts = [record.__dict__["facts"]["elapsed_seconds"] for record in records]
    assert facts == [1.25, 11.5]


class Start:
    """A run's start with its log, in a context of its own, as a task or a thread has one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._context, self._opened = copy_context(), ExitStack()
        self._context.run(self._opened.enter_context, logged()).opens(path)

    def do(self, call: Callable[..., Any], *args: Any) -> None:
        self._context.run(call, *args)

    def end(self) -> None:
        self.do(self._opened.close)

    @property
    def said(self) -> list[str]:
        return [line.partition(" WARNING ")[2] for line in self.path.read_text().splitlines()]


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """The logger, as it is where nobody has set anything."""
    found = logging.getLogger("engager")
    level = found.level
    found.setLevel(logging.NOTSET)
    yield found
    found.setLevel(level)


def test_runs_side_by_side_have_their_own_lines_only(tmp_path: Path, log: logging.Logger) -> None:
    one, other = Start(tmp_path / "one"), Start(tmp_path / "other")
    one.do(log.warning, "of one")
    other.do(log.warning, "of the other")
    log.warning("of neither")
    one.end()
    other.do(log.warning, "of the other still")
    other.end()
    assert one.said == ["of one"]
    assert other.said == ["of the other", "of the other still"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG, logging.ERROR])
def test_in_whatever_order_runs_end_the_level_is_as_it_was(
    tmp_path: Path, log: logging.Logger, level: int, order: tuple[int, ...]
) -> None:
    log.setLevel(level)
    starts = [Start(tmp_path / str(number)) for number in range(3)]
    for number in order:
        starts[number].do(log.warning, "heard to the end")
        starts[number].end()
    assert [start.said for start in starts] == [["heard to the end"]] * 3
    assert log.level == level


def test_a_level_that_is_set_meanwhile_stays(tmp_path: Path, log: logging.Logger) -> None:
    start = Start(tmp_path / "one")
    log.setLevel(logging.CRITICAL)
    start.end()
    assert log.level == logging.CRITICAL
