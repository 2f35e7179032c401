"""The retry policy: when and how often a row is attempted again. Pure, without clock."""

from __future__ import annotations

from dataclasses import dataclass

from tenacity.stop import stop_after_attempt
from tenacity.wait import wait_random_exponential


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with full jitter, and a maximum number of attempts."""

    attempts: int = 5  #: attempts of a row, including the first
    base_delay: float = 0.5  #: seconds; the first wait is drawn from 0 to this, each further one doubles it
    max_delay: float = 30.0  #: seconds; no wait is drawn from more than this
    budget_rate: float = 64.0  #: retries per second that are always allowed, even in an outage
    budget_reserve: float = 100.0  #: retries that may be saved up
    longest_pause: float = 3600.0  #: seconds; a longer Retry-After stops the run

    @property
    def wait(self) -> wait_random_exponential:
        """The wait before the next attempt.

        Full jitter as in https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        return wait_random_exponential(multiplier=self.base_delay, max=self.max_delay)

    @property
    def stop(self) -> stop_after_attempt:
        """The condition that ends the attempts."""
        return stop_after_attempt(self.attempts)
