"""What the two generators have in common: the count of their cases, their options, and how they end."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from typing import NoReturn


@dataclass
class Report:
    """What became of some cases."""

    cases: int = 0
    wrong: list[str] = field(default_factory=list)


def parser_of(doc: str | None, cases: int, jobs: int) -> argparse.ArgumentParser:
    """The options of a generator, with its default numbers."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--cases", type=int, default=cases, help="how many cases, from this seed on")
    parser.add_argument("--jobs", type=int, default=jobs, help="cases at a time")
    parser.add_argument("--keep", action="store_true", help="keep the folders of failed cases")
    return parser


def end(report: Report, *lines: str) -> NoReturn:
    """Print what is wrong and the lines that sum up; the exit code is 1 if anything is wrong."""
    for wrong in report.wrong:
        print(f"WRONG {wrong}")
    print(*lines, f"{len(report.wrong)} wrong", sep="\n")
    sys.exit(bool(report.wrong))
