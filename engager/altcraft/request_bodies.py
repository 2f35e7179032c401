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

    separator = b","  #: between fields, and between items of a list

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

    def item(self, fields: Mapping[str, Any]) -> bytes:
        """Returns the fields of a row as an item of a list. Raises WireError."""
        return b"{" + self.content(fields) + b"}"

    def listed(self, name: str, items: Sequence[bytes]) -> bytes:
        """Returns a list of items under a name."""
        return b'"%b":[%b]' % (name.encode(), b",".join(items))

    def body(self, content: bytes) -> tuple[bytes, ...]:
        """Returns the parts of the whole body around the fields of the row."""
        head = b"{" + self._head + b"," + content if self._head else b"{" + content
        return (head, self._attach, b"}") if self._attach else (head + b"}",)


class XmlBody:
    """Bodies in XML: root `<xml>`, arrays as repeated elements or marked, null as an empty element."""

    separator = b""

    def __init__(self, head: Mapping[str, Any], attach: Sequence[Mapping[str, str]]) -> None:
        self._head = b"<xml>" + _elements(head)
        self._attach = _elements({"attach": list(attach)}) if attach else b""

    def content(self, fields: Mapping[str, Any]) -> bytes:
        """Returns the encoded fields of the row. Raises WireError."""
        return _elements(fields)

    def item(self, fields: Mapping[str, Any]) -> bytes:
        """Returns the fields of a row as the inside of one of several elements. Raises WireError."""
        return _elements(fields)

    def listed(self, name: str, items: Sequence[bytes]) -> bytes:
        """Returns a list of items under a name: repeated elements, or a single one that is marked."""
        element = name.encode()
        opened = b"%b array='true'" % element if len(items) == 1 else element
        return b"".join([b"<%b>%b</%b>" % (opened, item, element) for item in items])

    def body(self, content: bytes) -> tuple[bytes, ...]:
        """Returns the parts of the whole body around the fields of the row."""
        head = self._head + content
        return (head, self._attach, b"</xml>") if self._attach else (head + b"</xml>",)


class BatchBody:
    """Bodies with a list of items under `data`, in either format. An item has the fields of one row."""

    def __init__(self, wire: JsonBody | XmlBody, shared: Mapping[str, Any]) -> None:
        """`shared` has the fields that stand once, before the list. Raises WireError."""
        self._wire = wire
        self._shared = wire.content(shared) + wire.separator
        two, three = (len(wire.listed("data", [b""] * number)) for number in (2, 3))
        #: Bytes that an item adds to a body besides its own.
        self.separator_bytes = three - two
        one_empty = sum(map(len, self.join([b""])[1]))
        #: Bytes of a body without items. A body has at most these and, of every item, its bytes and
        #: `separator_bytes`.
        self.frame_bytes = one_empty - self.separator_bytes

    def content(self, fields: Mapping[str, Any]) -> bytes:
        """Returns the item of a row. Raises WireError."""
        return self._wire.item(fields)

    def body(self, content: bytes) -> tuple[bytes, ...]:
        """Returns the item: bodies are made of several."""
        return (content,)

    def join(self, items: Sequence[bytes]) -> tuple[bytes, tuple[bytes, ...]]:
        """Returns all but token, format and attachments, and the parts of the whole body."""
        content = self._shared + self._wire.listed("data", items)
        return content, self._wire.body(content)


def body_of(wire: Wire, head: Mapping[str, Any], attach: Sequence[Mapping[str, str]]) -> JsonBody | XmlBody:
    """The bodies of a job. `head` has the fields before those of every row. Raises WireError."""
    return JsonBody(head, attach) if wire == "json" else XmlBody(head, attach)


def text_in_body(wire: Wire, text: str) -> bytes:
    """A text as it stands in a body, without what is around it. Raises WireError."""
    return orjson.dumps(text)[1:-1] if wire == "json" else _text(text, "text").encode()


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
