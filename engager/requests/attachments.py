"""Reads the files of `request.attach` into the endpoint's `attach`, once for all rows.

Invariant: paths come from the job only. No value of a row is ever used as a path.
"""

from __future__ import annotations

import base64
import mimetypes
from pathlib import Path
from typing import Any

from engager.altcraft.attachments import ATTACHMENT_KEYS, MAX_BODY_WITH_FILES
from engager.errors import ParameterError
from engager.requests.template import names_nearest


def read_attachments(value: Any, base: Path) -> list[dict[str, str]]:
    """Read the files that `attach` names, relative to `base`. Raises ParameterError."""
    key = "request.attach"
    if not isinstance(value, list):
        raise ParameterError(key, 'give a list of paths, such as ["files/offer.pdf"]')
    attached = [_read(item, base, f"{key}.{index}") for index, item in enumerate(value)]
    size = sum(len(file["data"]) for file in attached)
    if size > MAX_BODY_WITH_FILES:
        raise ParameterError(
            key, f"{size:,} bytes when encoded; the endpoint accepts {MAX_BODY_WITH_FILES:,}"
        )
    return attached


def _read(item: Any, base: Path, key: str) -> dict[str, str]:
    fields = {"path": item} if isinstance(item, str) else item
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise ParameterError(key, 'give a path, or {path = "…", name = "…", type = "…"}')
    for name in fields:
        if name not in ATTACHMENT_KEYS:
            raise ParameterError(f"{key}.{name}", f"unknown key; {names_nearest(name, ATTACHMENT_KEYS)}")
    if "path" not in fields:
        raise ParameterError(key, "no path")
    if any("{" in value or "}" in value for value in fields.values()):
        raise ParameterError(key, "an attachment is the same for every row: it cannot contain {column}")
    path = base / fields["path"]
    data = base64.b64encode(_bytes(path, key)).decode()
    mime = fields.get("type") or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {"name": fields.get("name") or path.name, "data": f"data:{mime};base64,{data}"}


def _bytes(path: Path, key: str) -> bytes:
    try:
        if path.stat().st_size > MAX_BODY_WITH_FILES:
            raise ParameterError(
                key, f"{path} is larger than the endpoint accepts ({MAX_BODY_WITH_FILES:,} bytes)"
            )
        return path.read_bytes()
    except OSError as fault:
        raise ParameterError(key, f"{path} cannot be read: {fault.strerror}") from fault
