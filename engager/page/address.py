"""Where a page is to be served: a text in, host and port out."""

from __future__ import annotations

from engager.errors import JobError


def address_of(page: str) -> tuple[str, int]:
    """Host and port from `HOST:PORT`, `:PORT` or `PORT`; loopback unless a host is named.

    Raises JobError.
    """
    host, _, port = page.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise JobError(f"--page {page}: give HOST:PORT, or a port of this machine; 0 is any free one.")
    return host.strip("[]") or "127.0.0.1", int(port)
