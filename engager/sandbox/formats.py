"""Parsing of requests and formatting of responses: JSON, XML and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

import orjson
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from engager.sandbox.rules import START, Shape

_INTEGER = re.compile(r"-?[0-9]{1,18}")

_CONTENT_TYPES = {"json": "application/json", "xml": "application/xml", "csv": "text/csv"}


def read_request(body: bytes, shape: Shape = START, one_needs_mark: bool = True) -> dict[str, Any] | None:
    """The parameters of a request in JSON or XML; None if the body is invalid.

    Args:
        body: The bytes of the request.
        shape: The parameters of the method. XML has texts alone: the shape says what else they are.
        one_needs_mark: Whether a list of one in XML is an object if it has no mark.

    """
    if body.lstrip()[:1] == b"<":
        return _read_xml(body, shape, one_needs_mark)
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else None


def _read_xml(body: bytes, shape: Shape, one_needs_mark: bool) -> dict[str, Any] | None:
    try:
        root: Element = fromstring(body)
    except (ParseError, DefusedXmlException, ValueError):
        return None
    fields = _value(root)
    if root.tag != "xml" or not isinstance(fields, dict):
        return None
    fields = {name: value for name, value in fields.items() if value != ""}  # an empty element is a null
    return _typed(fields, shape, one_needs_mark)


def _typed(fields: Mapping[str, Any], shape: Shape, one_needs_mark: bool) -> dict[str, Any]:
    """Read what the shape knows: numbers, truth values and lists; an empty element is a null."""
    typed = dict(fields)
    for name in shape.types.keys() & fields.keys():
        value = fields[name]
        if value == "":
            del typed[name]
            continue
        if shape.types[name] is list and not isinstance(value, list) and not one_needs_mark:
            value = [value]
        typed[name] = _scalar(value, shape.types[name])
        if within := shape.within.get(name):
            typed[name] = _typed_within(value, within, one_needs_mark)
    return typed


def _typed_within(value: Any, shape: Shape, one_needs_mark: bool) -> Any:
    if isinstance(value, list):
        return [_typed_within(item, shape, one_needs_mark) for item in value]
    return _typed(value, shape, one_needs_mark) if isinstance(value, dict) else value


def _scalar(value: Any, kind: Any) -> Any:
    if kind is int and isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    return value == "true" if kind is bool and value in ("true", "false") else value


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


def write_answer(
    language: str,
    data: Any,
    error: int,
    error_text: str,
    further: Mapping[str, Any] | None = None,
    item: str = "xml",
) -> tuple[str, bytes]:
    """The content type and the body of a response.

    Args:
        language: The format.
        data: The value of `data`.
        error: The value of `error`.
        error_text: The value of `error_text`.
        further: What the response has beside them.
        item: The element of an item of a list in XML: "xml" within the list, otherwise the list's repeated.

    """
    fields = {"data": data, "error": error, "error_text": error_text, **(further or {})}
    if language == "xml":
        # A list of scenarios is one text: no page shows another form.
        shown = {**fields, "data": orjson.dumps(data).decode()} if isinstance(data, list) else fields
        body = _element("xml", shown, item).encode()
    elif language == "csv":
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([fields, map(_cell, fields.values())])
        body = buffer.getvalue().encode()
    else:
        language = "json"
        body = orjson.dumps(fields)
    return _CONTENT_TYPES[language], body


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


def _element(name: str, value: Any, item: str) -> str:
    if value is None or value == []:
        return f"<{name}/>"
    if isinstance(value, list):
        return _repeated(name, value, item)
    if isinstance(value, dict):
        inner = "".join(_element(part, held, item) for part, held in value.items())
    else:
        inner = escape(str(value))
    return f"<{name}>{inner}</{name}>"


def _repeated(name: str, values: Sequence[Any], item: str) -> str:
    if item == "xml":
        return f"<{name}>{''.join(_element(item, value, item) for value in values)}</{name}>"
    elements = [_element(name, value, item) for value in values]
    if len(elements) == 1:
        return elements[0].replace(f"<{name}>", f"<{name} array='true'>", 1)
    return "".join(elements)
