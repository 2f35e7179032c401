"""Chooses the transport to a destination."""

from __future__ import annotations

from typing import Literal

from engager.sending.transport.base import Destination, Transport
from engager.sending.transport.http1.transport import LeanTransport

Kind = Literal["auto", "lean", "aiohttp"]


def transport_to(destination: Destination, connections: int, kind: Kind = "auto") -> Transport:
    """A transport to the destination, to be created inside the running loop."""
    if kind == "lean" or (kind == "auto" and destination.proxy is None):
        return LeanTransport(destination)
    # Loaded where it is used: it costs every run 15 MB and a tenth of a second.
    from engager.sending.transport.aiohttp import AiohttpTransport

    return AiohttpTransport(destination, connections)
