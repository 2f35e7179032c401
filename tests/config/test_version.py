"""Whoever asks which engager this is gets its version."""

from __future__ import annotations

import subprocess
import sys

from engager.config.version import __version__


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "engager", "--version"]
    reported = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert reported == f"engager, version {__version__}\n"
