"""The tree stays as it was drawn, and what watches it sees a tree that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repository import structure

LAW = (
    '[[tool.importlinter.contracts]]\nname = "law"\ntype = "layers"\ncontainers = ["engager"]\n'
    'layers = ["api", "run", "store | sending", "models"]\n'
)


def tree(root: Path, files: dict[str, str]) -> Path:
    (root / "pyproject.toml").write_text(LAW)
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_the_structure_is_within_its_bounds() -> None:
    assert structure.findings() == []


def test_a_lawful_tree_has_no_findings(tmp_path: Path) -> None:
    files = {
        "engager/__init__.py": "from engager.api import run",
        "engager/api.py": "from engager.run.pipeline import carry_out",
        "engager/run/__init__.py": "",
        "engager/run/pipeline.py": "def send():\n    from engager.store import journal",
        "engager/store/__init__.py": "",
        "engager/store/journal.py": "import engager.models",
        "engager/models.py": "",
        "tests/store/test_journal.py": "",
        "tests/store/test_power_cut.py": "",
        "tests/crash/test_pipeline.py": "",
    }
    root = tree(tmp_path, files)
    assert structure.findings(root) == []
    assert structure.arrows(structure.imports(root)) == {
        ("__init__", "api"): 1,
        ("api", "run"): 1,
        ("run", "store"): 1,
        ("store", "models"): 1,
    }


@pytest.mark.parametrize(
    ("files", "facts"),
    [
        ({"engager/store/a.py": "from engager.run import b", "engager/run/b.py": ""}, ["store → run"]),
        ({"engager/store/a.py": "import engager.sending.b", "engager/sending/b.py": ""}, ["store → sending"]),
        (
            {
                "engager/store/a.py": "if TYPE_CHECKING:\n    from engager.store.b import B",
                "engager/store/b.py": "def f():\n    from engager.store import a",
            },
            ["circle of modules", "engager.store.a", "engager.store.b"],
        ),
        ({"engager/other/a.py": "import engager.models", "engager/models.py": ""}, ["other is in no layer"]),
        ({f"engager/store/m{number}.py": "" for number in range(20)}, ["engager/store: 21 entries"]),
        ({f"engager/m{number}.py": "" for number in range(11)}, ["11 loose modules"]),
        (
            {"engager/store/a.py": "", "engager/run/b.py": "", "tests/store/test_b.py": ""},
            ["store/test_b.py"],
        ),
        ({"engager/store/a.py": "", "tests/disk/test_a.py": ""}, ["tests/disk/test_a.py"]),
    ],
)
def test_what_breaks_a_bound_or_the_law_is_found(
    tmp_path: Path, files: dict[str, str], facts: list[str]
) -> None:
    packages = {str(Path(name).parent / "__init__.py"): "" for name in files if name.count("/") > 1}
    inits = {name: text for name, text in packages.items() if name.startswith("engager/")}
    (found,) = structure.findings(tree(tmp_path, {**files, **inits}))
    assert all(fact in found for fact in facts)
