"""The address at which the live page is served."""

from __future__ import annotations

import socket

from engager.errors import JobError


def refuse_used_address(page: str) -> None:
    """Raise JobError if the live page cannot be served at this address."""
    host, port = address_of(page)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, UnicodeError) as fault:
        why = getattr(fault, "strerror", None) or fault
        raise JobError(f"--page {page}: the page cannot be served there: {why}.") from fault


def address_of(page: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `:PORT` or `PORT`; the default host is the loopback address.

    Raises JobError.
    """
    host, _, port = page.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise JobError(f"--page {page}: give HOST:PORT, or a port of this machine; 0 selects a free one.")
    return host.strip("[]") or "127.0.0.1", int(port)
