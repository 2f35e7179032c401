"""engager without its ledger: its sources, but that nothing in them keeps what a kill would leave behind.

What is compiled cannot be changed as it runs; so there is a package of its own to measure against.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import environment

SOURCES = environment.CACHE / "without"
VENV = environment.CACHE / "without-venv"

#: What the functions of the ledger come to that keep something, by file.
INSTEAD = {
    "ledger/ledger.py": {
        "leaves": "pass",
        "answered": "pass",
        "settle": "return True",
        "give_slots": "pass",
        "move_horizon": "pass",
    },
    "ledger/book.py": {"commit": "pass"},
}


def engager() -> Path:
    """The compiled program without its ledger, made where need be; its sources are in SOURCES then."""
    program, stamp = VENV / "bin" / "engager", environment.CACHE / "without-installed"
    needed = environment.fingerprint() + Path(__file__).read_text()
    if not program.exists() or not stamp.exists() or stamp.read_text() != needed:
        print(f"building engager without its ledger in {VENV} …", file=sys.stderr)
        _copy()
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        environment.install_engager(VENV, SOURCES)
        stamp.write_text(needed)
    return program


def _copy() -> None:
    shutil.rmtree(SOURCES, ignore_errors=True)
    shutil.copytree(
        environment.ROOT / "engager",
        SOURCES / "engager",
        ignore=shutil.ignore_patterns("__pycache__", "*.so"),
    )
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(environment.ROOT / name, SOURCES)
    for name, bodies in INSTEAD.items():
        path = SOURCES / "engager" / name
        path.write_text(emptied(path.read_text(), bodies))


def emptied(source: str, bodies: dict[str, str]) -> str:
    """A module whose functions of some names do this and no more. Raises KeyError for a name it has not."""
    tree, left = ast.parse(source), dict(bodies)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in left:
            node.body = ast.parse(left.pop(node.name)).body
    if left:
        raise KeyError(*left)
    return ast.unparse(tree)
