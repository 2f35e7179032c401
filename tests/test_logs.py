"""What a program reads on stderr: a JSON object a line, whatever happens."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from engager.events import Serving
from engager.logs import EventLog, JsonFormatter


def test_an_event_is_a_record_with_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "engager"):
        EventLog()(Serving("http://127.0.0.1:1/?key=secret"))
    line = json.loads(JsonFormatter().format(caplog.records[0]))
    assert (line["event"], line["url"], line["level"]) == ("serving", "http://127.0.0.1:1/", "info")


def test_paths_are_texts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "engager"):
        logging.getLogger("engager").info("x", extra={"facts": {"directory": Path("runs/a")}})
    assert json.loads(JsonFormatter().format(caplog.records[0]))["directory"] == "runs/a"
