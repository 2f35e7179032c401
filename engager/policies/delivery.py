"""What is done about an attempt whose answer was lost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What is done about a try whose answer was lost."""

    EXACTLY_ONCE = "exactly-once"
    AT_MOST_ONCE = "at-most-once"
    AT_LEAST_ONCE = "at-least-once"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery mode and how long the endpoint remembers a Request-ID."""

    mode: Mode = Mode.EXACTLY_ONCE
    dedupe_window: float = 86_400.0  #: seconds
    #: Seconds by which a repeat must beat the window: clocks and networks are late, and a repeat
    #: that arrives after the endpoint forgot the id is a second message.
    margin: float = 60.0

    def may_repeat(self, first_left: float, now: float) -> bool:
        """Whether a try that may have been taken can safely be sent again at `now`."""
        if self.mode is Mode.AT_MOST_ONCE:
            return False
        return self.mode is Mode.AT_LEAST_ONCE or self.remembers(first_left, now)

    def remembers(self, first_left: float, now: float) -> bool:
        """Whether the endpoint still knows the id of a try that left then."""
        margin = min(self.margin, self.dedupe_window / 10)
        return now - first_left < self.dedupe_window - margin
