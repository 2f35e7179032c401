"""Who asks which engager this is, is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engager import version


@pytest.mark.parametrize(
    ("origin", "compiled"),
    [("engager/model.py", False), ("engager/model.cpython-311-x86_64-linux-gnu.so", True)],
)
def test_a_compiled_package_is_told_from_its_sources(
    origin: str, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, "EXTENSION_SUFFIXES", [".cpython-311-x86_64-linux-gnu.so", ".so"])
    monkeypatch.setattr(version, "find_spec", lambda name: type("Spec", (), {"origin": origin}))
    assert version.is_compiled() is compiled


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "engager", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kind = "compiled" if version.is_compiled() else "pure Python"
    assert told == f"engager, version {version.__version__} ({kind})\n"
