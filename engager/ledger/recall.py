"""What a shard is told of its past, in one piece that may go to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engager.ledger.journal import Mark
from engager.store.formats import RejectFile as Mend

_BEGINNING = Mark()


@dataclass(slots=True)
class Gaps:
    """Which rows have a line in files that had to be repaired: a byte a row. None: no file had to be."""

    results: bytearray | None = None
    mended: dict[Mend, bytearray] = field(default_factory=dict)


@dataclass(slots=True)
class Recall:
    """What a shard is told of its past."""

    mark: Mark = _BEGINNING  #: the journal's entries before it are in the files
    latest_wall: float = 0.0  #: the latest wall time that is known to have been
    same_token: bool = True
    passes: int = 0
    generations: Mapping[int, int] = field(default_factory=dict)
    gaps: Gaps = field(default_factory=Gaps)
    begun: float = float("-inf")  #: when the run began, on the boot clock, as far as that can be known
