"""Reads the code and text of the endpoint from the body of a response; None if it has another form.

Forms: `{"data": null, "error": 0, "error_text": "…"}`, the same under `<xml>`, and, by assumption, the same
as a CSV header with one line. The content type is ignored, because gateways set wrong ones.
"""

from __future__ import annotations

import csv
import re
from codecs import BOM_UTF8
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: Elements of the longest XML that is parsed. A response has five or six, and each costs some microseconds.
MAX_ELEMENTS = 500

#: Codes of an endpoint are below this.
_MOST_CODE = 10**9


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """The content of a response of the endpoint itself."""

    error: int  #: 0 is success
    error_text: str
    #: All of it, parsed; None of a CSV.
    document: dict[str, Any] | Element | None = field(default=None, repr=False, compare=False)


def read_response(body: bytes, most_elements: int = MAX_ELEMENTS) -> ResponseBody | None:
    """Read a whole body in any of the endpoint's formats.

    White space and the byte order mark of UTF-8 around a response are ignored. XML with more than
    `most_elements` elements is not read.
    """
    body = body.removeprefix(BOM_UTF8).strip()
    start = body[:1]
    if start == b"{":
        return _from_json(body)
    if start == b"<":
        return _from_xml(body, most_elements)
    return _from_csv(body) if start else None


def _from_json(body: bytes) -> ResponseBody | None:
    fields = _loaded(body)
    if fields is None:
        return None
    text = fields.get("error_text")
    if not isinstance(text, str):
        text = "" if "error_text" in fields else None
    return _in_the_form(code_of(fields.get("error")), text, fields)


def _in_the_form(
    error: int | None, text: str | None, document: dict[str, Any] | Element | None = None
) -> ResponseBody | None:
    """A code with its text; a success may come without one.

    Other servers write a number into `error`, too, and only what the endpoint said rejects a row.
    """
    if error is None or (error != 0 and text is None):
        return None
    return ResponseBody(error, (text or "").strip(), document)


def _loaded(body: bytes) -> dict[str, Any] | None:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            # The text may be in another character set; the code can be read in any case.
            fields = orjson.loads(body.decode(errors="replace"))
        except orjson.JSONDecodeError:
            return None
    return fields if isinstance(fields, dict) else None


def code_of(value: object) -> int | None:
    """An error code, given as a number or a text. A bool, which Python counts as an int, is not a code."""
    if type(value) is int:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _MOST_CODE else None
    return _digits(value) if isinstance(value, str) else None


def _digits(text: str) -> int | None:
    found = re.fullmatch(r"(-?[0-9]{1,9})(\.0+)?", text.strip())
    return int(found[1]) if found else None


def _from_xml(body: bytes, most_elements: int) -> ResponseBody | None:
    if body.count(b"<") > 2 * most_elements:
        return None
    # Loaded where it is used: most endpoints never respond in XML.
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(body)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return None
    if root.tag != "xml":
        return None
    return _from_text(root.findtext("error"), root.findtext("error_text"), root)


def _from_csv(body: bytes) -> ResponseBody | None:
    try:
        lines = [line for line in csv.reader(body.decode(errors="replace").splitlines(), strict=True) if line]
    except csv.Error:
        return None
    if len(lines) != 2 or len(lines[0]) != len(lines[1]):
        return None
    fields = dict(zip(*lines, strict=True))
    return _from_text(fields.get("error"), fields.get("error_text"))


def _from_text(
    error: str | None, error_text: str | None, document: Element | None = None
) -> ResponseBody | None:
    return _in_the_form(_digits(error or ""), error_text, document)
