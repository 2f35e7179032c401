"""Log records in, lines on stderr and in the run's log out, text or JSON, never with the token."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import orjson

from engager.events import Event, Progressed, Serving
from engager.secret import RedactingFormatter, Secret

LogFormat = Literal["text", "json"]

#: Seconds between two records of progress.
PROGRESS_EVERY = 10.0

_TEXT = "%(asctime)s %(levelname)s %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line of JSON."""
        fields = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= getattr(record, "facts", {})
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(fields, default=str).decode()


class EventLog:
    """The course of a run as log records, for a program that reads JSON: each says its `event`."""

    def __init__(self) -> None:
        self._log = logging.getLogger("engager")
        self._told_at = 0.0

    def __call__(self, event: Event) -> None:
        """Log an event; progress only now and then."""
        name, facts = type(event).__name__.lower(), _facts_of(event)
        if isinstance(event, Progressed):
            if event.now.seconds - self._told_at < PROGRESS_EVERY:
                return
            self._told_at = event.now.seconds
        self._log.info(name, extra={"facts": {"event": name, **facts}})


def _facts_of(event: Event) -> dict[str, Any]:
    if isinstance(event, Progressed):
        return asdict(event.now)
    facts = asdict(event)
    if isinstance(event, Serving):
        facts["url"] = event.url.partition("?")[0]  # a log is read by more people than may act
    return facts


def log_to_stderr(log_format: str, quiet: bool) -> None:
    """Log warnings to stderr, in JSON the course of events too; never with a token."""
    to_stderr = logging.StreamHandler(sys.stderr)
    # An orchestrator that asked for JSON wants the course of events; a person has the progress line.
    to_stderr.setLevel(logging.ERROR if quiet else logging.INFO if log_format == "json" else logging.WARNING)
    to_stderr.setFormatter(RedactingFormatter(_formatter(log_format), Secret.redact_all))
    logging.basicConfig(level=logging.INFO, handlers=[to_stderr], force=True)


#: The log of the run that is carried out here: a task, a thread and a process inherit it.
_here: ContextVar[_RunLog | None] = ContextVar("engager.run_log", default=None)


class _RunLog(logging.FileHandler):
    """The log of a run. A disk that takes no log is told of by what the run itself cannot write."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Say nothing."""


class _Loudness:
    """Lets a logger say what any of several logs wants; then it is as before."""

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._turn = log, threading.Lock()
        self._logs, self._before, self._ours = 0, logging.NOTSET, logging.NOTSET

    def raised(self) -> None:
        """One more log wants to hear."""
        with self._turn:
            self._logs += 1
            if self._logs == 1:
                self._before = self._log.level
                self._ours = min(self._log.getEffectiveLevel(), logging.INFO)
                self._log.setLevel(self._ours)

    def lowered(self) -> None:
        """One of them heard enough. A level that somebody else has set since then stays."""
        with self._turn:
            self._logs -= 1
            if not self._logs and self._log.level == self._ours:
                self._log.setLevel(self._before)


_loudness = _Loudness(logging.getLogger("engager"))


@contextmanager
def logged(path: Path, log_format: LogFormat = "text") -> Iterator[None]:
    """Log a run to a file that its owner alone can read, as long as this is entered.

    What is said here counts, and in what is begun from here: several runs in a process stay apart.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    to_file = _RunLog(path, encoding="utf-8")
    to_file.setFormatter(RedactingFormatter(_formatter(log_format), Secret.redact_all))
    to_file.addFilter(lambda record: _here.get() is to_file)
    log, outside = logging.getLogger("engager"), _here.set(to_file)
    _loudness.raised()
    log.addHandler(to_file)
    try:
        yield
    finally:
        log.removeHandler(to_file)
        _loudness.lowered()
        _here.reset(outside)
        to_file.close()


def _formatter(log_format: str) -> logging.Formatter:
    return JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT)
