"""Logs on stderr and in the run directory, as text or JSON, without secrets."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from itertools import islice
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any, Literal

from engager.config.as_json import as_json
from engager.config.sanitize import printable, sanitized
from engager.config.secret import RedactingFormatter, Secret
from engager.errors import EngagerError
from engager.events import ErrorKind, Event, Progressed, Serving, Snapshot, Watch
from engager.models import Status
from engager.output.text import waits, waits_kinds
from engager.store.disk import open_file

LogFormat = Literal["text", "json"]

#: Seconds between two records of progress.
PROGRESS_EVERY = 10.0

_TEXT = "%(asctime)s %(levelname)s %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line of JSON."""
        fields = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= getattr(record, "facts", {})
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return as_json(fields).decode()


class TextFormatter(logging.Formatter):
    """One line per record, followed by the facts of an event as JSON."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Format the line of a record."""
        text = super().formatMessage(record)
        facts = {name: fact for name, fact in getattr(record, "facts", {}).items() if name != "event"}
        return sanitized(f"{text} {as_json(facts).decode()}" if facts else text, " ")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the library's name
        """Format an exception, whose text others may have written."""
        return printable(super().formatException(ei))


class EventLog:
    """Events of a run as log records with the field `event`, for programs that read JSON."""

    def __init__(self, handle: Callable[[logging.LogRecord], object]) -> None:
        self._handle = handle
        self._logged_at = 0.0
        self._waits = set[str]()

    def __call__(self, event: Event) -> None:
        """Log an event; progress every ten seconds, and when a reason begins why no request leaves."""
        if isinstance(event, Progressed):
            is_new, self._waits = waits_kinds(event.snapshot) - self._waits, waits_kinds(event.snapshot)
            if not is_new and event.snapshot.elapsed_seconds - self._logged_at < PROGRESS_EVERY:
                return
            self._logged_at = event.snapshot.elapsed_seconds
        self._handle(_record(logging.INFO, _name_of(event), _facts_of(event)))


def _record(level: int, event: str, facts: Mapping[str, Any]) -> logging.LogRecord:
    """A record without a place in the code."""
    shown = {"name": "engager", "levelno": level, "levelname": logging.getLevelName(level), "msg": event}
    return logging.makeLogRecord({**shown, "facts": {"event": event, **facts}})


def _error_record(fault: BaseException, text: str) -> logging.LogRecord:
    record = _record(logging.ERROR, "error", {"text": text})
    if not isinstance(fault, EngagerError):
        record.exc_info = (type(fault), fault, fault.__traceback__)
    return record


def json_error(fault: BaseException, text: str) -> str:
    """The error that ends a command as one line of JSON, without secrets."""
    return Secret.redact_all(JsonFormatter().format(_error_record(fault, text)))


def _name_of(event: Event) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()


def _facts_of(event: Event) -> dict[str, Any]:
    if isinstance(event, Progressed):
        return asdict(event.snapshot)
    facts = asdict(event)
    if isinstance(event, Serving):
        facts["url"] = event.url.partition("?")[0]  # more people read a log than may control the run
    return facts


class _ToStderr(logging.StreamHandler[Any]):
    """Writes to the current `sys.stderr`, which a live view replaces."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        self.stream = sys.stderr
        super().emit(record)


def log_to_stderr(log_format: str, quiet: bool) -> None:
    """Log warnings to stderr, and with JSON also events; secrets are redacted."""
    to_stderr = _ToStderr()
    # An orchestrator that asked for JSON needs the events; a person has the progress.
    to_stderr.setLevel(logging.ERROR if quiet else logging.INFO if log_format == "json" else logging.WARNING)
    to_stderr.setFormatter(RedactingFormatter(_formatter(log_format), Secret.redact_all))
    logging.basicConfig(level=logging.INFO, handlers=[to_stderr], force=True)


#: The log of the current run; tasks and threads inherit it.
_here: ContextVar[RunLog | None] = ContextVar("engager.run_log", default=None)

#: Number of error kinds that the log of a run has at its end.
_KINDS = 50


class RunLog(MemoryHandler):
    """The log of one run in this process. It buffers records until it has a file."""

    def __init__(self, log_format: LogFormat) -> None:
        super().__init__(capacity=1)
        self._format = log_format
        self._events = EventLog(self.handle)
        self._waits = set[str]()
        self.addFilter(lambda record: _here.get() is self)

    def opens(self, path: Path) -> None:
        """Write to a file that only its owner can read."""
        os.close(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        to_file = _LogFile(path, encoding="utf-8")
        to_file.setFormatter(RedactingFormatter(_formatter(self._format), Secret.redact_all))
        self.setTarget(to_file)
        self.flush()

    def with_log(self, watch: Watch) -> Watch:
        """A watch that logs every event, of progress only why no request leaves, and calls another one."""

        def both(event: Event) -> None:
            if isinstance(event, Progressed):
                self._log_waits(event.snapshot)
            else:
                self._events(event)
            watch(event)

        return both

    def _log_waits(self, now: Snapshot) -> None:
        """Log when a reason begins why no request leaves, and when requests leave again."""
        before, self._waits = self._waits, waits_kinds(now)
        if self._waits - before:
            self.handle(_record(logging.WARNING, "waiting", {"waits": waits(now)}))
        elif before and not self._waits:
            self.handle(_record(logging.INFO, "sending", {}))

    def not_engaged(self, kinds: Iterable[ErrorKind]) -> None:
        """Log one line for each kind of error, with the number of one row.

        The content of rows is only in the results, which fewer people read than a log.
        """
        missed = (kind for kind in kinds if kind.status != Status.SKIPPED)
        for kind in islice(missed, _KINDS):
            facts = {"status": kind.status, "error": kind.error, "rows": kind.rows, "row": kind.row}
            self.handle(_record(logging.WARNING, "not_engaged", facts))

    def fault(self, fault: BaseException) -> None:
        """Log the exception that ended the run; of an internal error with its traceback."""
        self.handle(_error_record(fault, str(fault)))

    def close(self) -> None:
        """Close the handler and its file."""
        to_file = self.target
        super().close()
        if to_file is not None:
            to_file.close()


class _LogFile(logging.FileHandler):
    """Ignores its own errors: a full disk is reported when the run cannot store outcomes."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Ignore an error."""


class _LogLevels:
    """Lowers the level of a logger while at least one run has a log, and restores it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._turn = log, threading.Lock()
        self._logs, self._before, self._ours = 0, logging.NOTSET, logging.NOTSET

    def raised(self) -> None:
        """Register a log."""
        with self._turn:
            self._logs += 1
            if self._logs == 1:
                self._before = self._log.level
                self._ours = min(self._log.getEffectiveLevel(), logging.WARNING)
                self._log.setLevel(self._ours)

    def lowered(self) -> None:
        """Unregister a log. A level that was set by other code since then stays."""
        with self._turn:
            self._logs -= 1
            if not self._logs and self._log.level == self._ours:
                self._log.setLevel(self._before)


_log_levels = _LogLevels(logging.getLogger("engager"))


@contextmanager
def logged(log_format: LogFormat = "text") -> Iterator[RunLog]:
    """The log of a run while this is entered.

    It takes the records of this context and of the tasks and threads that start in it, so that several runs
    in one process have separate logs.
    """
    run_log = RunLog(log_format)
    log, outside = logging.getLogger("engager"), _here.set(run_log)
    _log_levels.raised()
    log.addHandler(run_log)
    try:
        yield run_log
    finally:
        log.removeHandler(run_log)
        _log_levels.lowered()
        _here.reset(outside)
        run_log.close()


def _formatter(log_format: str) -> logging.Formatter:
    return JsonFormatter() if log_format == "json" else TextFormatter(_TEXT)
