"""The delivery mode: what follows if the response of an attempt is lost. Pure, without clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What follows if the response of an attempt is lost."""

    EXACTLY_ONCE = "exactly-once"
    AT_MOST_ONCE = "at-most-once"
    AT_LEAST_ONCE = "at-least-once"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery mode, and how long the endpoint remembers a request id."""

    mode: Mode = Mode.EXACTLY_ONCE
    dedupe_window: float = 86_400.0  #: seconds
    #: Seconds before the end of the window after which nothing is repeated: clocks and networks are late, and
    #: a repeat that arrives after the endpoint forgot the id is a second message.
    margin: float = 60.0

    def may_repeat(self, first_left: float, now: float) -> bool:
        """Whether an attempt that may have had an effect can safely be sent again at `now`."""
        if self.mode is Mode.AT_MOST_ONCE:
            return False
        return self.mode is Mode.AT_LEAST_ONCE or self.remembers(first_left, now)

    def remembers(self, first_left: float, now: float) -> bool:
        """Whether the endpoint still knows the request id of an attempt that left at `first_left`."""
        margin = min(self.margin, self.dedupe_window / 10)
        return now - first_left < self.dedupe_window - margin
