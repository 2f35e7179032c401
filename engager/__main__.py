"""`python -m engager`: the same commands, by whichever Python runs it."""

from __future__ import annotations

from engager.cli import main

main(prog_name="engager")
