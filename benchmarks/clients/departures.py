"""The command of engager, which also notes when each request left its sender, on the boot clock.

python -m benchmarks.clients.departures FILE run job.toml …
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from engager import cli
from engager.sending.remote.messages import CalledSender, Ended


def noted(file: TextIO) -> None:
    """Note the departures of the endings that senders return from now on."""
    endings = CalledSender.endings

    async def noting(sender: CalledSender, read: int) -> tuple[int, Sequence[Ended], float]:
        count, ended, boot = await endings(sender, read)
        file.writelines(f"{one.left_at!r}\n" for one in ended if one.left_at is not None)
        return count, ended, boot

    CalledSender.endings = noting  # type: ignore[method-assign]


if __name__ == "__main__":
    with open(sys.argv.pop(1), "w") as file:
        noted(file)
        cli.main(sys.argv[1:])
