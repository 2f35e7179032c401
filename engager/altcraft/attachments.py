"""The limits of the endpoint on request bodies, and the keys of an attachment."""

from __future__ import annotations

#: The contract's limits on a request's body, in bytes: without files, and with them.
MAX_BODY = 10_000_000
MAX_BODY_WITH_FILES = 100_000_000


ATTACHMENT_KEYS = ("path", "name", "type")
