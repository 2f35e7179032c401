"""What a change of `endpoint.url` means for the requests that were sent before it.

An endpoint recognizes the Request-IDs that it has received itself. So another host knows none of a run, and
the same host under another scheme knows them all.
"""

from __future__ import annotations

from enum import Enum, auto
from urllib.parse import urlsplit

from engager.config.job_sections import SANDBOX

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Move(Enum):
    """How two addresses differ."""

    NONE = auto()  #: they are the same one, in another spelling perhaps
    SCHEME = auto()  #: one host, with and without TLS: the endpoint is the same
    ELSEWHERE = auto()  #: another host or port: what was sent before is unknown there
    REHEARSAL = auto()  #: one of them is the embedded sandbox, which reaches no person


def move_between(before: str, now: str) -> Move:
    """How `now` differs from `before`; both are valid values of `endpoint.url`."""
    if before == now:
        return Move.NONE
    if SANDBOX in (before, now):
        return Move.REHEARSAL
    old, new = urlsplit(before), urlsplit(now)
    if old.hostname != new.hostname:
        return Move.ELSEWHERE
    ports = [parts.port or _DEFAULT_PORTS[parts.scheme] for parts in (old, new)]
    if old.scheme == new.scheme:
        return Move.NONE if ports[0] == ports[1] else Move.ELSEWHERE
    both_default = ports == [_DEFAULT_PORTS[old.scheme], _DEFAULT_PORTS[new.scheme]]
    return Move.SCHEME if both_default or ports[0] == ports[1] else Move.ELSEWHERE
