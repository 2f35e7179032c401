"""A run under way in, what it shows of itself out: a snapshot now and then."""

from __future__ import annotations

import time

import anyio

from engager.events import Progressed, Snapshot, Watch
from engager.preparing import Run

#: Seconds between two snapshots.
EVERY = 0.25


class Watching:
    """Looks at a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._begun = self._at = time.monotonic()
        self._rows = run.account.book.tally.rows

    def snapshot(self) -> Snapshot:
        """The run as it is."""
        now, account, control = time.monotonic(), self._run.account.book.tally.as_dict(), self._run.control
        grown = (account["rows"] - self._rows) / max(now - self._at, 0.001)
        self._at, self._rows = now, account["rows"]
        pace = self._run.job_file.job.pace
        return Snapshot(
            seconds=now - self._begun,
            total=None,
            rows_per_second=grown,
            rate=control.rate or (pace.rate if pace else None),
            holders=sorted(control.holders),
            **account,
        )

    async def tell(self, watch: Watch) -> None:
        """Tell of the run, until cancelled."""
        while True:
            await anyio.sleep(EVERY)
            watch(Progressed(self.snapshot()))
