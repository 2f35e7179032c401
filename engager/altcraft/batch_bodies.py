"""Reads what a response says of each row of a batch, and of the task that imports it.

Assumed, as the pages of the batch methods do not show their responses: `result` is a list beside `error`, in
the order of the request, as profiles/add_batch documents it, or the ids that were engaged, as its twin among
the trigger campaigns does. In XML the entries are `<xml>` elements in `<result>`, or repeated `<result>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from engager.altcraft.response_bodies import MAX_ELEMENTS, ResponseBody, code_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: Bytes of the longest response to a batch, beside those of its rows, and bytes a row. An entry has about
#: 90 bytes in JSON and 120 in XML, without its text.
_FRAME = 1 << 16
_BYTES_OF_ROW = 1 << 10

#: Elements of a row in XML, at most.
_ELEMENTS_OF_ROW = 20


def longest_response(rows: int) -> int:
    """Bytes of the longest response to a request of so many rows."""
    return _FRAME + _BYTES_OF_ROW * rows


def most_elements(rows: int) -> int:
    """Elements of the longest response in XML to a request of so many rows."""
    return MAX_ELEMENTS + _ELEMENTS_OF_ROW * rows


class RowResult(NamedTuple):
    """What a response says of one row."""

    kind: tuple[int, str]  #: the error, 0 for success, and its text
    reference: str | None = None  #: the id of its profile


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a response says of the rows of its request."""

    rows: Sequence[RowResult] = ()  #: an entry each, in the order of the request
    ids: int = 0  #: bare ids instead: so many rows were engaged, it is not said which
    is_known: bool = True  #: False: there is a result, in a form that is not known


def read_batch_result(response: ResponseBody) -> BatchResult | None:
    """What a response says of the rows of its request; None: nothing."""
    entries = _entries(_fields(response))
    if entries is None:
        return None
    if all(isinstance(entry, str | int) and not isinstance(entry, bool) for entry in entries):
        return BatchResult(ids=len(entries))
    known = [row for entry in entries if (row := _row(entry)) is not None]
    return BatchResult(known) if len(known) == len(entries) else BatchResult(is_known=False)


def read_reference(response: ResponseBody) -> str | None:
    """The id of the task or of the profile that a response names; None if it names none."""
    fields = _fields(response)
    data = fields.get("data")
    places = [data, fields] if isinstance(data, dict) else [fields]
    named = [place.get(name) for place in places for name in ("task_id", "profile_id")]
    return next((str(value) for value in named if isinstance(value, str | int) and value != ""), None)


def _entries(fields: Mapping[str, Any]) -> list[Any] | None:
    entries = fields.get("result")
    if isinstance(entries, dict):
        entries = entries.get("xml", entries)
    if entries is None or isinstance(entries, list):
        return entries
    return [] if entries == "" else [entries]


def _fields(response: ResponseBody) -> Mapping[str, Any]:
    document = response.document
    if document is None or isinstance(document, dict):
        return document or {}
    value = _value(document)
    return value if isinstance(value, dict) else {}


def _value(element: Element) -> Any:
    """An element as an object or a text; repeated elements are a list."""
    if not len(element):
        return element.text or ""
    fields: dict[str, Any] = {}
    for child in element:
        value = _value(child)
        if child.tag not in fields:
            fields[child.tag] = value
        elif isinstance(fields[child.tag], list):
            fields[child.tag].append(value)
        else:
            fields[child.tag] = [fields[child.tag], value]
    return fields


def _row(entry: Any) -> RowResult | None:
    if not isinstance(entry, dict):
        return None
    error = code_of(entry.get("error"))
    if error is None:
        return None
    text, profile = entry.get("error_text"), entry.get("profile_id")
    reference = str(profile) if isinstance(profile, str | int) and profile != "" else None
    return RowResult((error, text.strip() if isinstance(text, str) else ""), reference)
