"""A network of its own for one worker, which can be cut off from its cluster and still reaches the endpoint.

The worker is in a network namespace with two cables: one to the scheduler, one to the endpoint. The first is
cut without a sign for either side: packets go to an address of the link layer that nobody has.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

_NOBODY = "02:00:00:00:00:01"
_NAMES = Path("/var/run/netns")


class FarPlace:
    """A network namespace and its two cables. Addresses are of this machine."""

    def __init__(self, number: int) -> None:
        """`number`: below 60, another one for each that is there at a time."""
        self.name = f"engager-{os.getpid()}-{number}"
        self._cables = [f"e{os.getpid()}n{number}{letter}" for letter in "ab"]
        # From a network that is kept for measurements (RFC 2544).
        prefixes = [f"198.18.{(os.getpid() % 128) * 2 + end}.{number * 4}" for end in (0, 1)]
        nets = [(prefix.rsplit(".", 1)[0], int(prefix.rsplit(".", 1)[1])) for prefix in prefixes]
        (self.host, self.worker), (self.endpoint, self._other) = [
            (f"{net}.{last + 1}", f"{net}.{last + 2}") for net, last in nets
        ]

    @classmethod
    def made(cls, number: int) -> FarPlace | None:
        """Make one; None where this is not allowed, or not possible."""
        place = cls(number)
        try:
            place._make()
        except (OSError, subprocess.CalledProcessError):
            place.close()
            return None
        return place

    def _make(self) -> None:
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        pairs = ((self.host, self.worker), (self.endpoint, self._other))
        for cable, (here, there) in zip(self._cables, pairs, strict=True):
            _ip("link", "add", cable, "type", "veth", "peer", "name", f"{cable}0", "netns", self.name)
            _ip("addr", "add", f"{here}/30", "dev", cable)
            _ip("link", "set", cable, "up")
            _ip("-n", self.name, "addr", "add", f"{there}/30", "dev", f"{cable}0")
            _ip("-n", self.name, "link", "set", f"{cable}0", "up")

    def cut(self) -> None:
        """Let no packet pass between the worker and its cluster."""
        cable = self._cables[0]
        _ip("neigh", "replace", self.worker, "lladdr", _NOBODY, "dev", cable, "nud", "permanent")
        far = ("lladdr", _NOBODY, "dev", f"{cable}0", "nud", "permanent")
        _ip("-n", self.name, "neigh", "replace", self.host, *far)

    def heal(self) -> None:
        """Let packets pass again."""
        cable = self._cables[0]
        _ip("neigh", "del", self.worker, "dev", cable, check=False)
        _ip("-n", self.name, "neigh", "del", self.host, "dev", f"{cable}0", check=False)

    def close(self) -> None:
        """Remove it. Processes that are in it keep it until they end."""
        for cable in self._cables:
            _ip("link", "del", cable, check=False)
        _ip("netns", "del", self.name, check=False)


def enter(name: str) -> None:
    """Move this process, which has one thread, to a network namespace."""
    with (_NAMES / name).open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"the network namespace {name} cannot be entered")


def _ip(*args: str, check: bool = True) -> None:
    subprocess.run(["ip", *args], check=check, capture_output=True)
