"""Log records in, lines on stderr and in the run's log out, text or JSON, never with the token."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import orjson

from engager.secret import RedactingFormatter, Secret

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
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(fields).decode()


def log_to(path: Path, log_format: str, secret: Secret, quiet: bool) -> None:
    """Log to a file that its owner alone can read, and warnings to stderr."""
    inner = JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT)
    formatter = RedactingFormatter(inner, secret)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    to_file = logging.FileHandler(path, encoding="utf-8")
    to_stderr = logging.StreamHandler(sys.stderr)
    # An orchestrator that asked for JSON wants the course of events; a person has the progress line.
    to_stderr.setLevel(logging.ERROR if quiet else logging.INFO if log_format == "json" else logging.WARNING)
    for handler in (to_file, to_stderr):
        handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[to_file, to_stderr], force=True)
