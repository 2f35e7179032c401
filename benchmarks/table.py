"""Lines of figures in, a Markdown table out that reads well on a terminal, too; and the file of results."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime

from benchmarks.environment import ROOT

RESULTS = ROOT / "benchmarks" / "results.md"


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """The first line is the head; words stand left, what begins behind the name stands right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return ["| " + " | ".join(_padded(line, widths)) + " |" for line in (lines[0], rule, *lines[1:])]


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    name, *figures = line
    return [
        name.ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True)),
    ]


def machine() -> str:
    """The machine in a line."""
    with open("/proc/cpuinfo") as file:
        models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, Python {platform.python_version()}."


def keep(benchmark: str, text: str) -> None:
    """Add a text to the results, under its date."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    begun = (
        RESULTS.read_text() if RESULTS.exists() else "# Results, written by `python3 -m benchmarks --keep`\n"
    )
    RESULTS.write_text(f"{begun}\n## {benchmark}, {date}\n\n{text}\n")
