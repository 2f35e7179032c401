"""The command line in, one benchmark out. Sees to a virtual environment of its own before anything else.

    python3 -m benchmarks                # engager beside other clients, one table
    python3 -m benchmarks stages         # what each stage of engager costs a row
    python3 -m benchmarks profile        # where a whole run spends its processor time
    python3 -m benchmarks plots          # throughput and latency against concurrency and delay
    python3 -m benchmarks ledger         # what the ledger costs a whole run
    python3 -m benchmarks watching       # what a live view, a page and metrics cost a whole run
    python3 -m benchmarks keys           # what unique and exclude cost a key, and their memory
    python3 -m benchmarks memory         # peak memory at two lengths of input
    python3 -m benchmarks imports        # what an imported person costs, one by one and in batches
    python3 -m benchmarks rate               # what a rate costs a row, and whether it is kept at the endpoint
    python3 -m benchmarks rate --stall       # the same, with the process stopped for 0.4 s now and then
    python3 -m benchmarks rate --senders 3 --cluster    # shared by the workers of a cluster of this machine
    python3 -m benchmarks rate --runs 20 --rows 10000 --rate 500 --rate 1000    # stopped and continued

Client and endpoint have a core each. Machines are noisy: read the ratios.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import environment


def arguments() -> argparse.Namespace:
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python3 -m benchmarks", description=__doc__, formatter_class=text)
    kinds = [
        "compare",
        "stages",
        "profile",
        "ledger",
        "watching",
        "keys",
        "plots",
        "memory",
        "rate",
        "imports",
    ]
    parser.add_argument("benchmark", nargs="?", choices=kinds, default="compare")
    parser.add_argument("--rows", type=int, default=200_000, help="of the input of a run (200,000)")
    parser.add_argument("--turns", type=int, default=5, help="measured turns of the table (5)")
    parser.add_argument("--only", action="append", default=[], help="a part of a client's name; repeatable")
    parser.add_argument(
        "--rate", type=float, action="append", help="requests a second of `rate` (100, 500, 2000); repeatable"
    )
    parser.add_argument("--stall", action="store_true", help="stop the process of `rate` now and then")
    parser.add_argument("--senders", type=int, help="processes that share the rate of `rate`")
    parser.add_argument("--cluster", action="store_true", help="the senders of `rate` are a Dask cluster")
    parser.add_argument("--runs", type=int, help="runs of `rate`, stopped and continued three times each")
    parser.add_argument(
        "--seconds",
        type=float,
        help="about how long a point of `plots` takes (5), or a run of `rate` (10)",
    )
    parser.add_argument(
        "--set", action="append", default=[], help="goes to engager in profile, ledger, plots, memory, rate"
    )
    parser.add_argument("--keep", action="store_true", help="add the tables to benchmarks/results.md")
    parser.add_argument("--no-install", action="store_true", help="use the tools that are there")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    environment.enter()
    reasons = {} if given.no_install else environment.install()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the worker of nginx is another user if root starts it
        text = carry_out(given, folder, reasons)
    print(text)
    if given.keep:
        from benchmarks import table

        table.keep(given.benchmark, text)


def carry_out(given: argparse.Namespace, folder: Path, reasons: dict[str, str]) -> str:
    """The benchmark's text; what it imports is there only in the benchmark's own environment."""

    def module(name: str) -> Any:
        return import_module(f"benchmarks.{name}")

    def rate() -> str:
        rates = given.rate or [100, 500, 2000]
        if given.runs:
            return module("pace").stopped(folder, rates, given.rows, given.runs, given.stall, given.set)
        seconds = given.seconds or 10
        if given.senders:
            senders = given.senders
            return module("pace").divided(folder, rates, seconds, senders, given.cluster, given.set)
        return module("pace").cost(folder, rates, seconds, given.turns, given.stall, given.set)

    rows, turns, settings = given.rows, given.turns, given.set
    texts: dict[str, Callable[[], str]] = {
        "compare": lambda: module("compare").compare(folder, rows, turns, given.only, reasons),
        "stages": lambda: module("stages").table_of(folder, min(rows, 50_000), turns),
        "profile": lambda: module("profile").profile(folder, rows, settings),
        "plots": lambda: module("plots").draw(folder, given.seconds or 5, settings, given.keep),
        "ledger": lambda: module("ledger").cost(folder, rows, turns, settings),
        "keys": lambda: module("keys").cost(rows),
        "watching": lambda: module("watching").cost(folder, rows, turns),
        "memory": lambda: module("bounds").memory(folder, (rows // 10, rows), settings),
        "imports": lambda: module("bounds").imports(folder, rows, turns, settings),
        "rate": rate,
    }
    return texts[given.benchmark]()


if __name__ == "__main__":
    if sys.platform != "linux" or (os.cpu_count() or 1) < 2:
        sys.exit("benchmarks: they pin client and endpoint to a core each, on Linux with two cores or more.")
    main()
