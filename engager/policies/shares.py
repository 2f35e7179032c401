"""The rate limit of a run, divided among its senders. Pure: the caller brings the moments.

Invariant: what the senders may send together in any second is at most the rate. So a share is lowered first,
and others are raised a second after that was confirmed. A sender is assigned one share at a time: of two that
are under way, the former could arrive last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Seconds for which the departures of a former, larger share still count: a second, and the way to the
#: endpoint.
SECOND = 1.02


def divided(rate: float, senders: int) -> list[float]:
    """Divide a rate in whole requests per second; the first one has the fraction.

    A sender sends whole requests in a second, so a share below one would be exceeded or not be used: of a low
    rate, only some senders have a share.
    """
    if senders == 0:
        return []
    whole = int(rate)
    using = min(senders, whole) or 1
    each, more = divmod(whole, using)
    shares = [float(each + (place < more)) for place in range(using)]
    shares[0] += rate - whole
    return shares + [0.0] * (senders - using)


@dataclass(slots=True)
class _Sender:
    assigned: float = 0.0  #: the share that it was assigned last
    confirmed: float = 0.0  #: the share that it has confirmed
    reserved: float = 0.0  #: what it may have sent in the last second, per second
    since: float = 0.0  #: when it confirmed its present share


@dataclass(slots=True)
class Shares:
    """The shares of the senders. Moments are seconds on any clock that does not jump."""

    rate: float
    _senders: dict[str, _Sender] = field(default_factory=dict)
    #: Of senders that left: until when each may still send, and how much per second.
    _lingering: list[tuple[float, float]] = field(default_factory=list)

    def join(self, name: str) -> None:
        """A sender joins, without a share."""
        self._senders[name] = _Sender()

    def leave(self, name: str, until: float) -> None:
        """A sender is lost; what it has may leave until that moment, and counts for a second after it."""
        sender = self._senders.pop(name)
        share = max(sender.assigned, sender.reserved)
        if share:
            self._lingering.append((until + SECOND, share))

    def confirm(self, name: str, share: float, now: float) -> None:
        """A sender confirmed the share that it was assigned."""
        sender = self._senders.get(name)
        if sender is not None and share == sender.assigned:
            sender.confirmed, sender.since = share, now

    def due(self, now: float) -> Mapping[str, float]:
        """The shares that are to be sent to senders now. They count as assigned."""
        self._lingering = [one for one in self._lingering if one[0] > now]
        targets = dict(zip(self._senders, divided(self.rate, len(self._senders)), strict=True))
        for sender in self._senders.values():
            if sender.confirmed == sender.assigned and sender.since + SECOND <= now:
                sender.reserved = sender.assigned
        free = self.rate - sum(share for _, share in self._lingering)
        free -= sum(sender.reserved for sender in self._senders.values())
        assigned: dict[str, float] = {}
        for name, sender in self._senders.items():
            target = targets[name]
            more = max(0.0, target - sender.reserved)
            if sender.confirmed != sender.assigned or target == sender.assigned:
                continue
            if more and more > free + 1e-9:  # a lower share needs nothing that is free
                continue
            free -= more
            sender.reserved += more
            sender.assigned = assigned[name] = target
        return assigned

    def share_of(self, name: str) -> float:
        """The share that a sender has confirmed."""
        return self._senders[name].confirmed
