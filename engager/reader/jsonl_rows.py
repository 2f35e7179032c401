"""Parses the lines of a JSONL file. Invariant: every line that is not blank is exactly one record."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from engager.models import Row, Unreadable
from engager.reader.json_values import LosesDigitsError, RepeatedKeyError, refuse_ambiguous
from engager.reader.lines import ERRORS, AnyLine, TextLine, shown, text_of

#: Characters of the shortest text that `orjson` parses but cannot write: brackets only.
_DEEP = 255


class JsonlRows:
    """The rows of one JSONL file, in batches; `before` is the number of lines before this part of it."""

    def __init__(self, batches: Iterator[list[AnyLine]], source: str, before: int = 0) -> None:
        self._batches = batches
        self._before = before
        self._source = source

    def batches(self, number: int) -> Iterator[list[Row | Unreadable]]:
        """The rows as they come; the first one is row `number`. A batch may be empty."""
        line = self._before
        for batch in self._batches:
            out: list[Row | Unreadable] = []
            for text in batch:
                line += 1
                if text_of(text).strip() or not isinstance(text, str):
                    out.append(self._record(number, line, text))
                    number += 1
            yield out

    def _record(self, number: int, line: int, text: AnyLine) -> Row | Unreadable:
        if isinstance(text, TextLine):
            return self._unreadable(number, line, text, text.error)
        try:
            values = orjson.loads(text)
        except orjson.JSONDecodeError as fault:
            return self._unreadable(number, line, text, "bad_json", f"{ERRORS['bad_json']}: {fault.msg}")
        if not isinstance(values, dict):
            return self._unreadable(number, line, text, "not_an_object")
        if _is_deep(text, values):
            return self._unreadable(number, line, text, "too_deep")
        try:
            refuse_ambiguous(text, values)
        except LosesDigitsError:
            return self._unreadable(number, line, text, "number_too_large")
        except RepeatedKeyError as key:
            fault_text = f"{ERRORS['repeated_key']}: {str(key)[:60]!r}"
            return self._unreadable(number, line, text, "repeated_key", fault_text)
        return Row(number, line, self._source, values)

    def _unreadable(
        self, number: int, line: int, text: AnyLine, error: str, error_text: str | None = None
    ) -> Unreadable:
        raw = shown(text_of(text))
        return Unreadable(number, line, self._source, error, error_text or ERRORS[error], raw)


def _is_deep(text: str, values: object) -> bool:
    """Whether the value is nested too deep to be written again, in a request or a file."""
    if len(text) < _DEEP or text.count("[") + text.count("{") < _DEEP:
        return False
    try:
        orjson.dumps(values)
    except TypeError:
        return True
    return False
