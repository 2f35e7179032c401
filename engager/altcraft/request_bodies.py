"""Encodes parameters as the body of a request, in JSON or XML.

A body is a sequence of parts. Invariant: what is the same for every row, such as attachments of many
megabytes, is encoded once, and every body contains the same object.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson

Wire = Literal["json", "xml"]

# https://www.w3.org/TR/xml/#charsets and #NT-Name, without the colon that would claim a namespace.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"[^\W\d][\w.\-]*")


class WireError(ValueError):
    """The values cannot be represented in this format."""


class JsonBody:
    """Bodies in JSON."""

    def __init__(self, head: Mapping[str, Any], attach: Sequence[Mapping[str, str]]) -> None:
        # Without the braces, so that it can be joined with the fields of the row.
        self._head = orjson.dumps(head)[1:-1]
        self._attach = b',"attach":' + orjson.dumps(attach) if attach else b""

    def content(self, fields: Mapping[str, Any]) -> bytes:
        """Returns the encoded fields of the row. Raises WireError."""
        try:
            return orjson.dumps(fields)[1:-1]
        except (TypeError, ValueError) as fault:
            raise WireError(f"it cannot be written as JSON: {fault}") from None

    def body(self, content: bytes) -> tuple[bytes, ...]:
        """Returns the parts of the whole body around the fields of the row."""
        head = b"{" + self._head + b"," + content if self._head else b"{" + content
        return (head, self._attach, b"}") if self._attach else (head + b"}",)


class XmlBody:
    """Bodies in XML: root `<xml>`, arrays as repeated elements or marked, null as an empty element."""

    def __init__(self, head: Mapping[str, Any], attach: Sequence[Mapping[str, str]]) -> None:
        self._head = b"<xml>" + _elements(head)
        self._attach = _elements({"attach": list(attach)}) if attach else b""

    def content(self, fields: Mapping[str, Any]) -> bytes:
        """Returns the encoded fields of the row. Raises WireError."""
        return _elements(fields)

    def body(self, content: bytes) -> tuple[bytes, ...]:
        """Returns the parts of the whole body around the fields of the row."""
        head = self._head + content
        return (head, self._attach, b"</xml>") if self._attach else (head + b"</xml>",)


def body_of(wire: Wire, head: Mapping[str, Any], attach: Sequence[Mapping[str, str]]) -> JsonBody | XmlBody:
    """The bodies of a job. `head` has the fields before those of every row. Raises WireError."""
    return JsonBody(head, attach) if wire == "json" else XmlBody(head, attach)


def _elements(fields: Mapping[str, Any]) -> bytes:
    try:
        return "".join(_children(fields)).encode()
    except UnicodeEncodeError:
        raise WireError("it contains half of a surrogate pair, which is not a character") from None


def _children(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        if not _NAME.fullmatch(name) or name.lower().startswith("xml"):
            raise WireError(f"{name!r} cannot be the name of an XML element")
        items = value if isinstance(value, list) else (value,)
        # Documented: repeated elements are an array, and so is one element with array='true'.
        opened = f"{name} array='true'" if isinstance(value, list) and len(value) == 1 else name
        for item in items:
            text = _text(item, name)
            yield f"<{opened}>{text}</{name}>" if text else f"<{opened}/>"


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return "".join(_children(value))
    if isinstance(value, list):
        raise WireError(
            f"{name!r} contains a list in a list, which repeated elements of XML cannot represent"
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if _ILLEGAL.search(text):
        raise WireError(f"{name!r} contains a character that XML does not allow")
    # An XML parser turns an unescaped carriage return into a line feed.
    return html.escape(text, quote=False).replace("\r", "&#13;")
