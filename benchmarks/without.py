"""engager without its journal: its sources, but that nothing in them keeps what a kill would leave behind.

It is a package of its own, in an environment of its own, so that both are installed alike.
"""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

from benchmarks import environment

SOURCES = environment.CACHE / "without"
VENV = environment.CACHE / "without-venv"

#: What the functions of the store come to that keep something, by file.
INSTEAD = {
    "store/store.py": {
        "before_send": "requests.clear()",
        "_store_due": "pass",
        "_store": (
            "self._pending.results += self._lines; self._rows, self._lines = [], []; "
            "self._settlements.clear(); self._records.clear(); self._checkpoints.clear()"
        ),
    },
    "store/journal.py": {"write": "pass"},
}


def engager() -> Path:
    """The program without its journal; its sources are in SOURCES then."""
    _copy()
    environment.provide(VENV, SOURCES)
    return VENV / "bin" / "engager"


def _copy() -> None:
    shutil.rmtree(SOURCES, ignore_errors=True)
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(environment.ROOT / "engager", SOURCES / "engager", ignore=unwanted)
    for name in (*environment.BUILD, "README.md", "LICENSE"):
        shutil.copy(environment.ROOT / name, SOURCES / name)
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
