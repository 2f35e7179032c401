"""Prints the structure of the program as its imports draw it: `python -m tests.repository.structure`.

A unit is a package or a loose module of engager/; benchmarks/ and configs/ are one each. Every import counts,
also one within a function or under TYPE_CHECKING. Ends with 1 where a bound is exceeded or an import breaks
the law.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

ROOT = Path(__file__).parents[2]

MAX_UNITS, MAX_LOOSE, MAX_ENTRIES = 30, 10, 20

#: Folders of tests that mirror no package: whole runs, kills, the wire, and what lies beside the package.
BESIDE = frozenset({"cli", "crash", "odd", "repository", "wire"})

Graph = Mapping[str, Set[str]]


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of engager by its dotted name; a package stands for its `__init__`."""
    found = {}
    for file in sorted((root / "engager").rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(root: Path = ROOT) -> dict[str, set[str]]:
    """The modules of engager that each of them imports."""
    known = modules(root)
    return {name: set(_imported(file, known)) - {name} for name, file in known.items()}


def _imported(file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            module = str(node.module)
            names = {f"{module}.{alias.name}" for alias in node.names}
            yield from names & known.keys() or {module}
            if names - known.keys():
                yield module


def unit_of(module: str) -> str:
    """The package or loose module that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def arrows(graph: Graph) -> Counter[tuple[str, str]]:
    """How many imports lead from one unit to another."""
    pairs = ((unit_of(name), unit_of(other)) for name, others in graph.items() for other in others)
    return Counter((begin, end) for begin, end in pairs if begin != end)


def circles(graph: Graph) -> list[list[str]]:
    """The groups of nodes each of which reaches itself over the others."""
    reached = {node: _reached(graph, node) for node in graph}
    groups = {
        tuple(sorted(other for other in reached[node] if node in reached[other]))
        for node in graph
        if node in reached[node]
    }
    return [list(group) for group in sorted(groups)]


def _reached(graph: Graph, node: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph.get(node, ()))
    while waiting:
        if (other := waiting.pop()) not in found:
            found.add(other)
            waiting += graph.get(other, ())
    return found


def layers(root: Path = ROOT) -> list[set[str]]:
    """The law of pyproject.toml, the highest layer first. `engager` itself is the api's face."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    law = next(contract for contract in contracts["contracts"] if contract["type"] == "layers")
    found = [set(layer.split(" | ")) for layer in law["layers"]]
    face = next(index for index, layer in enumerate(found) if "api" in layer)
    return [*found[:face], {"__init__"}, *found[face:]]


def against_the_law(drawn: Counter[tuple[str, str]], law: list[set[str]]) -> list[str]:
    """Arrows that do not lead downwards."""
    level = {unit: index for index, layer in enumerate(law) for unit in layer}
    found = []
    for begin, end in sorted(drawn):
        if begin not in level or end not in level:
            found.append(f"{begin} → {end}: {begin if begin not in level else end} is in no layer")
        elif level[begin] >= level[end]:
            found.append(f"{begin} → {end}")
    return found


def sizes(root: Path = ROOT) -> dict[str, int]:
    """The entries of every folder of the program and its tests: files that are there, without manuals."""
    entries: dict[Path, set[Path]] = {}
    for top in ("engager", "tests", "benchmarks", "configs"):
        for file in (root / top).rglob("*"):
            path = file.relative_to(root)
            hidden = any(part[0] == "." or part == "__pycache__" for part in path.parts)
            if file.is_file() and not hidden and file.name != "README.md":
                for entry in [path, *path.parents][:-2]:
                    entries.setdefault(entry.parent, set()).add(entry)
    return {str(folder): len(found) for folder, found in entries.items()}


def misplaced_tests(root: Path = ROOT) -> list[str]:
    """Tests of a module that do not lie where it lies, and folders of tests that mirror no package."""
    homes: dict[str, set[Path]] = {}
    for file in modules(root).values():
        homes.setdefault(file.stem, set()).add(file.parent.relative_to(root / "engager"))
    found = []
    for test in sorted((root / "tests").rglob("test_*.py")):
        folder = test.parent.relative_to(root / "tests")
        if folder.parts[:1] and folder.parts[0] in BESIDE:
            continue
        stem = test.stem.removeprefix("test_")
        if not (root / "engager" / folder).is_dir():
            found.append(f"{test.relative_to(root)}: engager/{folder} is no package")
        elif stem in homes and folder not in homes[stem]:
            limiter = ", ".join(f"engager/{home / stem}.py" for home in sorted(homes[stem]))
            found.append(f"{test.relative_to(root)}: its module is {limiter}")
    return found


def loose(root: Path = ROOT) -> list[str]:
    """The modules that stand in engager/ itself."""
    return sorted(file.stem for file in (root / "engager").glob("*.py"))


def units(root: Path = ROOT) -> list[str]:
    """What the structure consists of."""
    return [*sorted({unit_of(name) for name in modules(root)}), "benchmarks", "configs"]


def findings(root: Path = ROOT) -> list[str]:
    """Everything that the bounds and the law do not allow."""
    graph = imports(root)
    drawn = arrows(graph)
    of_units = {unit: {end for begin, end in drawn if begin == unit} for unit in units(root)}
    found = [f"circle of packages: {' → '.join(circle)}" for circle in circles(of_units)]
    found += [f"circle of modules: {' → '.join(circle)}" for circle in circles(graph)]
    found += [f"against the law: {arrow}" for arrow in against_the_law(drawn, layers(root))]
    found += [f"{name}: {size} entries" for name, size in sizes(root).items() if size > MAX_ENTRIES]
    found += misplaced_tests(root)
    for what, many, row_limit in (
        ("units", units(root), MAX_UNITS),
        ("loose modules", loose(root), MAX_LOOSE),
    ):
        if len(many) > row_limit:
            found.append(f"{len(many)} {what}, and {row_limit} are allowed: {', '.join(many)}")
    return found


def main() -> int:
    """Print the structure; returns the exit code."""
    graph = imports()
    drawn, every, alone = arrows(graph), units(), loose()
    print(f"{len(every)} units (at most {MAX_UNITS}), {len(drawn)} arrows between them\n")
    for unit in [unit for layer in layers() for unit in sorted(layer)]:
        inside = [name for name in graph if unit_of(name) == unit]
        ends = [f"{end} ({count})" for (begin, end), count in sorted(drawn.items()) if begin == unit]
        print(f"{unit:10} {len(inside):3} modules → {', '.join(ends) or 'nothing'}")
    print(f"\n{len(alone)} loose modules (at most {MAX_LOOSE}): {', '.join(alone)}")
    print(f"\nlargest folders (at most {MAX_ENTRIES} entries):")
    for name, size in sorted(sizes().items(), key=lambda item: -item[1])[:8]:
        print(f"{size:4} {name}")
    found = findings()
    print("\nno circle, no arrow against the law, nothing out of bounds" if not found else "")
    print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
