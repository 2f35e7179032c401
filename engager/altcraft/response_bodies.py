"""The body of an answer in, the endpoint's code and text out; None for what is not in the contract's form.

Where it comes from: `{"data": null, "error": 0, "error_text": "…"}`, the same under `<xml>`, and, by
assumption, the same as a CSV header with one line. The content type is not believed: gateways lie.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

import orjson

#: Elements of the longest XML that is parsed; an answer has five or six, and each costs some microseconds.
_MAX_ELEMENTS = 500


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """What the endpoint itself said."""

    error: int  #: 0 is success
    error_text: str


def read_response(body: bytes) -> ResponseBody | None:
    """Read a whole body in any of the endpoint's formats."""
    start = body[:64].lstrip()[:1]
    if start == b"{":
        return _from_json(body)
    if start == b"<":
        return _from_xml(body)
    return _from_csv(body) if start else None


def _from_json(body: bytes) -> ResponseBody | None:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    error = fields.get("error")
    # A bool is an int to Python, and no error code to anybody.
    if type(error) is not int:
        return None
    text = fields.get("error_text")
    return ResponseBody(error, text if isinstance(text, str) else "")


def _from_xml(body: bytes) -> ResponseBody | None:
    if body.count(b"<") > 2 * _MAX_ELEMENTS:
        return None
    # Loaded where it is used: most endpoints never answer in XML.
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(body)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return None
    if root.tag != "xml":
        return None
    return _from_text(root.findtext("error"), root.findtext("error_text"))


def _from_csv(body: bytes) -> ResponseBody | None:
    try:
        lines = [line for line in csv.reader(body.decode().splitlines(), strict=True) if line]
    except (UnicodeDecodeError, csv.Error):
        return None
    if len(lines) != 2 or len(lines[0]) != len(lines[1]):
        return None
    fields = dict(zip(*lines, strict=True))
    return _from_text(fields.get("error"), fields.get("error_text"))


def _from_text(error: str | None, error_text: str | None) -> ResponseBody | None:
    digits = (error or "").strip()
    if not (digits.isascii() and digits.removeprefix("-").isdigit() and len(digits) < 10):
        return None
    return ResponseBody(int(digits), (error_text or "").strip())
