"""Batches of outcomes in, the files and the account of the run out: each line once, whatever is killed when.

The book alone writes to the files. What it commits says, in one piece, how far they have come and which
entries of every shard's journal are in them; only then may a shard use that room again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engager.errors import RecordingError, RunDirectoryError
from engager.ledger import commits
from engager.ledger.commits import Commits
from engager.ledger.journal import Mark
from engager.ledger.mapped import MappedFile
from engager.store.formats import Formats
from engager.store.result_files import LineFile
from engager.store.tally import Tally

#: Rows whose further ids are remembered. One beyond that cannot be tried again under its id.
MAX_GENERATIONS = 2000


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines for one file."""

    data: bytes = b""
    count: int = 0

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> Lines:
        """Some lines in one piece."""
        return cls(b"".join(lines), len(lines))


@dataclass(frozen=True, slots=True)
class Batch:
    """What a shard has settled since its last batch."""

    shard: int
    mark: Mark  #: behind the last entry of its journal that is in here
    tally: Tally  #: all that its process has counted so far
    results: Lines = Lines()
    failed: Lines = Lines()
    in_doubt: Lines = Lines()
    generations: Mapping[int, int] = field(default_factory=dict)  #: of rows in doubt under a renewed id


@dataclass(frozen=True, slots=True)
class Files:
    """The files of outcomes."""

    results: LineFile
    failed: LineFile
    in_doubt: LineFile

    @classmethod
    def of(cls, folder: Path, formats: Formats, synced: bool = False) -> Files:
        """The files of a run."""
        mend = formats.reject
        return cls(
            LineFile(folder / formats.results.name, formats.results.head, synced),
            LineFile(folder / f"failed{mend.suffix}", mend.head, synced),
            LineFile(folder / f"in_doubt{mend.suffix}", mend.head, synced),
        )

    def facts(self) -> dict[str, list[Any]]:
        """What the book is to remember of them."""
        return {name: getattr(self, name).facts for name in ("results", "failed", "in_doubt")}

    def restore(self, facts: Mapping[str, Any]) -> bool:
        """Take all of them up as they were left; whether they are as they were left."""
        intact = [getattr(self, name).restore(facts[name]) for name in self.facts()]
        return all(intact)

    def close(self) -> None:
        """Close them."""
        for file in (self.results, self.failed, self.in_doubt):
            file.close()


class Book:
    """The account of a run, open for writing. One batch of batches at a time."""

    def __init__(self, path: Path, files: Files, shards: int, token: str, synced: bool = False) -> None:
        self.files = files
        self.base = Tally()  #: what was counted before this process
        self.passes = 0  #: how often failed rows were opened again
        self.generations: dict[int, int] = {}  #: of rows in doubt under a renewed id
        self.marks = [Mark()] * shards
        #: Why a batch could not be written: nothing may be committed behind it.
        self._fault: RecordingError | None = None
        self._file = MappedFile(path)
        self._commits = Commits(self._file.map(0, commits.SIZE), 0)
        self._tallies: dict[int, Tally] = {}
        self._token, self._synced = token, synced

    def read(self) -> dict[str, Any]:
        """What was last committed. Raises RunDirectoryError when nothing ever was."""
        facts = self._commits.read()
        if facts is None:
            raise RunDirectoryError(f"{self._file.path}: it is damaged. Name a new run with --out.")
        self.base = Tally.restored(facts["tally"])
        self.passes, self.generations = facts["passes"], dict(facts["generations"])
        self.marks = [Mark(*mark) for mark in facts["marks"]]
        return facts

    def knows_token(self, facts: Mapping[str, Any]) -> bool:
        """Whether the token is the one that the last process had."""
        return bool(facts["token"] == self._token)

    @property
    def shards(self) -> int:
        """How many shards the run has."""
        return len(self.marks)

    @property
    def tally(self) -> Tally:
        """The whole account: what was counted before, and in every shard."""
        whole = Tally()
        for part in (self.base, *self._tallies.values()):
            whole.merge(part)
        return whole

    def write(self, batches: Sequence[Batch]) -> None:
        """Append the lines of some batches and commit them. Raises RecordingError, then and ever after."""
        if self._fault is not None:
            raise self._fault
        folder = self.files.results.path.parent
        self._fault = RecordingError(f"{folder}: a write broke off. Run the same command again.")
        try:
            for batch in batches:
                self._append(batch)
            self.commit()
        except OSError as fault:
            self._fault = RecordingError(
                f"{fault.filename or folder}: outcomes cannot be written: {fault.strerror}. "
                "Nothing is lost: mend it, and run the same command again."
            )
            raise self._fault from fault
        except RecordingError as fault:
            self._fault = fault
            raise
        self._fault = None

    def _append(self, batch: Batch) -> None:
        for name in ("results", "failed", "in_doubt"):
            lines = getattr(batch, name)
            getattr(self.files, name).append(lines.data, lines.count)
        self._tallies[batch.shard] = batch.tally
        self.marks[batch.shard] = batch.mark
        for row, generation in batch.generations.items():
            if row in self.generations or len(self.generations) < MAX_GENERATIONS:
                self.generations[row] = generation

    def commit(self) -> None:
        """Say how far everything has come. Raises OSError, or RecordingError when the book was removed."""
        self._file.refuse_vanished()
        facts = {
            **self.files.facts(),
            "tally": self.tally.state(),
            "marks": [list(mark) for mark in self.marks],
            "passes": self.passes,
            "generations": list(self.generations.items()),
            "wall": time.time(),
            "token": self._token,
        }
        self._commits.write(facts)
        if self._synced:
            self._file.sync()

    def close(self) -> None:
        """Close the files as they are."""
        self.files.close()
        self._file.close()
