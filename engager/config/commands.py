"""Commands that errors, views and reports name. Invariant: each can be copied to a shell as it is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engager.config.placeholders import escaped
from engager.config.profiles import options_of


def command_of(
    source: Mapping[str, Any],
    input_path: str | None,
    out: Path,
    after: Sequence[Path] = (),
    given_up: Sequence[Path] = (),
    new_address: bool = False,
    yes: bool = False,
) -> str:
    """The command that sends, or the call of a program whose job is no file.

    Args:
        source: the job file and its overrides.
        input_path: an input in the place of the one that the job names.
        out: the run directory.
        after: runs whose people are left out.
        given_up: runs that are given up.
        new_address: the run goes on at another address.
        yes: the rows after `limits.confirm_above` are confirmed by it.

    """
    if source["job"] is None:
        runs = f", after={[str(run) for run in after]!r}" if after else ""
        runs += f", give_up={[str(run) for run in given_up]!r}" if given_up else ""
        runs += ", new_address=True" if new_address else ""
        runs += ", yes=True" if yes else ""
        return f"engager.run(job, out={escaped(str(out))!r}{runs})"
    overrides = options_of(source["overrides"])
    given = ["--input", input_path] if input_path else []
    ended = [part for run in given_up for part in ("--give-up", str(run))]
    named = ["--out", escaped(str(out))]
    runs_ = [part for run in after for part in ("--after", str(run))]
    moved = ["--new-address"] if new_address else []
    confirmed = ["--yes"] if yes else []
    options = [*overrides, *given, *ended, *named, *runs_, *moved, *confirmed]
    return shlex.join(["engager", "run", source["job"], *options])
