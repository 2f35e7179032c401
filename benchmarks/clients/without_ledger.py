"""engager without its ledger: the same command line, and nothing that a kill would leave behind."""

from __future__ import annotations

from engager.cli import main
from engager.ledger.book import Book
from engager.ledger.ledger import Ledger


def nothing(*args: object) -> None:
    pass


def at_once(*args: object) -> bool:
    return True


Ledger.leaves = nothing  # type: ignore[method-assign]
Ledger.answered = nothing  # type: ignore[method-assign]
Ledger.settle = at_once  # type: ignore[method-assign]
Ledger.give_slots = nothing  # type: ignore[method-assign]
Ledger.move_horizon = nothing  # type: ignore[method-assign]
Book.commit = nothing  # type: ignore[method-assign]

main()
