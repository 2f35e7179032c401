"""A run's account on disk, and the recorder of its only shard, without a run around them."""

from __future__ import annotations

from pathlib import Path

from anyio.lowlevel import checkpoint

from engager.ledger.account import Account, Keeping, begin, existing_run, resume
from engager.ledger.book import Batch
from engager.ledger.ledger import Ledger
from engager.ledger.ledgers import shard_path
from engager.ledger.recorder import Recorder
from engager.model import Outcome
from engager.store.formats import Formats, RejectFormat
from engager.store.lines import JsonLines
from engager.store.run_directory import find_run, new_run


class Kept:
    """Begins a run in a folder, or takes up the one that is there."""

    def __init__(self, path: Path, mendable: RejectFormat) -> None:
        formats = Formats(JsonLines(), mendable, str)
        keeping = Keeping(formats, 1 << 16, synced=False, token="")
        begun = find_run(path) is not None
        run = existing_run(path) if begun else new_run(path)
        account: Account = (resume if begun else begin)(run, keeping)
        self.book = account.book
        self.written: list[int] = []  #: lines of every batch
        ledger = Ledger(shard_path(run.ledger_folder, 0))
        self.recorder = Recorder(0, ledger, formats, self._write, account.recalls[0])

    @classmethod
    async def opened(cls, path: Path, mendable: RejectFormat) -> Kept:
        """As a process opens it: what an earlier one could not write comes first."""
        kept = cls(path, mendable)
        await kept.recorder.flush()
        return kept

    async def _write(self, batch: Batch) -> None:
        await checkpoint()  # as in a run, others go on meanwhile
        self.book.write([batch])
        self.written.append(batch.results.count)

    async def record(self, *outcomes: Outcome) -> None:
        for one in outcomes:
            self.recorder.due([one.row])
            if (writing := self.recorder.record(one)) is not None:
                await writing

    def close(self) -> None:
        """As a process that ends, whatever is not written yet."""
        self.recorder.close()
        self.book.close()

    async def finish(self) -> None:
        """Write the rest, and close."""
        await self.recorder.flush()
        self.close()
