"""The token: held by one object that never shows it, and taken out of every text that leaves the process."""

from __future__ import annotations

import html
import logging
import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar

import orjson

from engager.errors import JobError

MASK = "***"


class MissingSecretError(JobError):
    """What the job refers to holds no secret, yet."""


class Secret:
    """A token that prints as a mask."""

    __slots__ = ("_forms", "_value")
    _all: ClassVar[list[Secret]] = []

    def __init__(self, value: str, *notations: str) -> None:
        """`notations`: how else the same may be written."""
        self._value = value
        forms = {
            form
            for text in (value, *notations)
            for form in (
                text,
                orjson.dumps(text).decode()[1:-1],
                html.escape(text),
                html.escape(text, quote=False),
            )
        }
        self._forms = sorted((form for form in forms if form), key=len, reverse=True)
        self._all.append(self)

    def reveal(self) -> str:
        """The token itself, for a request and for nothing else."""
        return self._value

    def redact(self, text: str) -> str:
        """The text without the token, in whatever notation."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text

    def mark(self, key: str) -> str:
        """By which the same token is known again; too short to find the token by."""
        return blake2b(self._value.encode(), digest_size=4, key=key.encode()).hexdigest()

    @classmethod
    def redact_all(cls, text: str) -> str:
        """The text without any token that this process ever held: for the last words of a crash."""
        for secret in cls._all:
            text = secret.redact(text)
        return text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__


def read_secret(
    reference: str, base: Path, key: str = "endpoint.token", what: str = "API token", least: int = 1
) -> Secret:
    """Follow `env:NAME` or `file:PATH` (relative to `base`), which `key` of the job says.

    Raises JobError for a text that is none, or has fewer than `least` characters; the error holds no secret.
    """
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        value = os.environ.get(name, "")
        where = f"the environment variable {name}"
    elif kind == "file" and name:
        value, where = _read_file(base / name, key)
    else:
        raise JobError(
            f'{key}: it must be "env:NAME" or "file:PATH"; a token written into the job is refused.'
        )
    value = value.strip()
    if not value:
        raise MissingSecretError(f"{key}: {where} is empty or not set. Put the {what} there.")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise JobError(f"{key}: {where} holds something that cannot be an {what}.")
    if len(value) < least:
        raise JobError(f"{key}: {where} holds fewer than {least} characters: this cannot be an {what}.")
    return Secret(value)


def _read_file(path: Path, key: str) -> tuple[str, str]:
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as fault:
        raise MissingSecretError(f"{key}: {path} cannot be read: {fault}.") from fault


class RedactingFormatter(logging.Formatter):
    """Takes the token out of whatever another formatter made, tracebacks included."""

    def __init__(self, inner: logging.Formatter, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._inner, self._redact = inner, redact

    def format(self, record: logging.LogRecord) -> str:
        """The line, without the token."""
        return self._redact(self._inner.format(record))
