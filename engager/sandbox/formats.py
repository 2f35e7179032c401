"""Parsing of requests and formatting of responses: JSON, XML and CSV."""

from __future__ import annotations

import csv
import io
from typing import Any
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

import orjson
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from engager.sandbox.rules import INTEGERS

_CONTENT_TYPES = {"json": "application/json", "xml": "application/xml", "csv": "text/csv"}


def read_request(body: bytes) -> dict[str, Any] | None:
    """The parameters of a request in JSON or XML; None if the body is invalid."""
    if body.lstrip()[:1] == b"<":
        return _read_xml(body)
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else None


def _read_xml(body: bytes) -> dict[str, Any] | None:
    try:
        root: Element = fromstring(body)
    except (ParseError, DefusedXmlException, ValueError):
        return None
    fields = _value(root)
    if root.tag != "xml" or not isinstance(fields, dict):
        return None
    fields = {name: value for name, value in fields.items() if value != ""}  # an empty element is a null
    for name in INTEGERS:
        if str(fields.get(name, "")).isdigit():
            fields[name] = int(fields[name])
    if fields.get("skip_profiles") in ("true", "false"):
        fields["skip_profiles"] = fields["skip_profiles"] == "true"
    chosen = fields.get("subscription_filter")
    if isinstance(chosen, dict) and chosen.get("not_strict") in ("true", "false"):
        chosen["not_strict"] = chosen["not_strict"] == "true"
    if isinstance(fields.get("attach"), dict):
        fields["attach"] = [fields["attach"]]
    return fields


def _value(element: Element) -> Any:
    """Elements as an object, repeated or marked ones as a list; XML has no other types."""
    if not len(element):
        return element.text or ""
    fields: dict[str, Any] = {}
    for child in element:
        value = _value(child)
        if child.tag not in fields:
            fields[child.tag] = [value] if child.get("array") == "true" else value
        elif isinstance(fields[child.tag], list):
            fields[child.tag].append(value)
        else:
            fields[child.tag] = [fields[child.tag], value]
    return fields


def write_answer(language: str, data: Any, error: int, error_text: str) -> tuple[str, bytes]:
    """The content type and the body of a response."""
    if language == "xml":
        text = escape(error_text)
        inner = "<data/>" if data is None else f"<data>{escape(orjson.dumps(data).decode())}</data>"
        body = f"<xml>{inner}<error>{error}</error><error_text>{text}</error_text></xml>".encode()
    elif language == "csv":
        buffer = io.StringIO()
        shown = "" if data is None else orjson.dumps(data).decode()
        csv.writer(buffer, lineterminator="\n").writerows(
            [["data", "error", "error_text"], [shown, error, error_text]]
        )
        body = buffer.getvalue().encode()
    else:
        language = "json"
        body = orjson.dumps({"data": data, "error": error, "error_text": error_text})
    return _CONTENT_TYPES[language], body
