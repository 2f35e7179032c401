"""Secrets: each is in one object that never prints it, and is redacted from every text that is output."""

from __future__ import annotations

import html
import logging
import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, NoReturn

import orjson

from engager.errors import JobError

MASK = "***"

#: How a text is written in JSON and in XML.
_NOTATIONS: tuple[Callable[[str], str], ...] = (
    lambda text: orjson.dumps(text).decode()[1:-1],
    html.escape,
    lambda text: html.escape(text, quote=False),
)

#: How often: a response may have a whole request in one of its texts.
_TIMES = 2


class MissingSecretError(JobError):
    """The variable or file that the job names contains no secret yet."""


class Secret:
    """A secret that prints as a mask."""

    __slots__ = ("_forms", "_value")
    _all: ClassVar[list[Secret]] = []

    def __init__(self, value: str, *notations: str) -> None:
        """Register a secret; `notations` are further forms of the same value."""
        self._value = value
        forms = {value, *notations}
        for _ in range(_TIMES):
            forms |= {notation(form) for form in forms for notation in _NOTATIONS}
        self._forms = sorted((form for form in forms if form), key=len, reverse=True)
        self._all.append(self)

    def reveal(self) -> str:
        """The value, for use in a request only."""
        return self._value

    def redact(self, text: str) -> str:
        """Mask every notation of the secret in a text."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text

    def redact_bytes(self, data: bytes) -> bytes:
        """Mask every notation of the secret in the bytes of a response."""
        for form in self._forms:
            data = data.replace(form.encode(), MASK.encode())
        return data

    def __reduce__(self) -> NoReturn:
        """Raises TypeError: a secret does not travel to another process."""
        raise TypeError("a secret cannot be pickled")

    def mark(self, key: str) -> str:
        """A short keyed hash that recognizes the same secret and does not reveal it."""
        return blake2b(self._value.encode(), digest_size=4, key=key.encode()).hexdigest()

    @classmethod
    def redact_all(cls, text: str) -> str:
        """Mask every secret that this process has read."""
        forms = {form for secret in cls._all for form in secret._forms}
        for form in sorted(forms, key=len, reverse=True):  # one may be the beginning of another
            text = text.replace(form, MASK)
        return text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__


def read_secret(
    reference: str, base: Path, key: str = "endpoint.token", what: str = "API token", least: int = 1
) -> Secret:
    """Read the secret that `key` of the job refers to: `env:NAME`, or `file:PATH` relative to `base`.

    Raises JobError, also for fewer than `least` characters. Its text does not contain the secret.
    """
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        value = os.environ.get(name, "")
        where = f"the environment variable {name}"
    elif kind == "file" and name:
        value, where = _read_file(base / name, key)
    else:
        raise JobError(f'{key}: give "env:NAME" or "file:PATH"; a literal token is refused.')
    value = value.strip()
    if not value:
        raise MissingSecretError(f"{key}: {where} is empty or not set. Put the {what} there.")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise JobError(f"{key}: the content of {where} is not a valid {what}.")
    if len(value) < least:
        raise JobError(f"{key}: {where} has fewer than {least} characters, so it is not a valid {what}.")
    return Secret(value)


def _read_file(path: Path, key: str) -> tuple[str, str]:
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as fault:
        raise MissingSecretError(f"{key}: {path} cannot be read: {fault}.") from fault


class RedactingFormatter(logging.Formatter):
    """Redacts the output of another formatter, tracebacks included."""

    def __init__(self, inner: logging.Formatter, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._inner, self._redact = inner, redact

    def format(self, record: logging.LogRecord) -> str:
        """Format and redact a record."""
        return self._redact(self._inner.format(record))
