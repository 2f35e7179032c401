"""Counts one row's way through the code: `python -m tests.repository.walk [--rows 4000] [--set KEY=VALUE …]`.

A whole run against a local endpoint is watched with `sys.setprofile`: how many functions of engager a row
enters (a coroutine that goes on counts as entered again), and how often that leads into another file. What a
run costs once is taken off by a second, shorter run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import engager
from engager.sandbox import Sandbox, SandboxConfig

PACKAGE = str(Path(engager.__file__).parent) + "/"


class Walk:
    """Counts calls of engager's functions, of those that the watched threads make."""

    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()
        self.changes = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(PACKAGE):
            return
        self.calls[frame.f_code] += 1
        caller = frame.f_back
        self.changes += caller is not None and caller.f_code.co_filename != frame.f_code.co_filename

    def by_file(self) -> Counter[str]:
        """The calls of each file."""
        found: Counter[str] = Counter()
        for code, count in self.calls.items():
            found[code.co_filename.removeprefix(PACKAGE)] += count
        return found

    def by_function(self) -> Counter[str]:
        """The calls of each function."""
        found: Counter[str] = Counter()
        for code, count in self.calls.items():
            found[f"{code.co_filename.removeprefix(PACKAGE)} {code.co_qualname}"] += count
        return found


@contextlib.contextmanager
def endpoint() -> Iterator[str]:
    """A local endpoint in a thread of its own, which is not watched."""
    started, ended = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        async with Sandbox(SandboxConfig()) as sandbox:
            found.update(url=sandbox.url, loop=asyncio.get_running_loop())
            started.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    started.wait()
    try:
        yield found["url"]
    finally:
        found["loop"].call_soon_threadsafe(ended.set)
        thread.join()


def walked(url: str, rows: int, settings: Sequence[str]) -> Walk:
    """The walk of a whole run."""
    walk = Walk()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "token").write_text("token")
        lines = [f"p{number}@example.com,Name {number}\n" for number in range(rows)]
        (folder / "people.csv").write_text("email,name\n" + "".join(lines))
        tables = {
            "job": {"name": "walk"},
            "endpoint": {"url": url, "token": f"file:{folder / 'token'}"},
            "input": {"path": "people.csv"},
            "request": {"id": 12, "email": "{email}", "content": {"name": "{name}"}},
            "output": {"report": False},
        }
        job = engager.build_job(tables, folder, settings)
        threading.setprofile(walk)
        sys.setprofile(walk)
        try:
            summary = engager.run(job, out=folder / "run")
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    if summary.statuses["engaged"] != rows:
        raise SystemExit(f"not every row was engaged: {summary.statuses}")
    return walk


def main() -> None:
    """Print the walk of a row."""
    parser = argparse.ArgumentParser(prog="python -m tests.repository.walk", description=__doc__)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--set", action="append", default=[], help="a key of the job: limits.concurrency=1")
    options = parser.parse_args()
    fewer = options.rows // 4
    with endpoint() as url:
        walked(url, 100, options.set)  # what is imported and compiled once is not the row's
        few, many = (walked(url, rows, options.set) for rows in (fewer, options.rows))
    rows = options.rows - fewer
    calls = (many.calls.total() - few.calls.total()) / rows
    changes = (many.changes - few.changes) / rows
    files, functions = many.by_file() - few.by_file(), many.by_function() - few.by_function()
    on_the_way = [name for name, count in files.items() if count >= rows / 10]
    print(f"a row: {calls:.0f} calls, {changes:.0f} changes of file, {len(on_the_way)} files\n")
    for title, counts in (("file", files), ("function", functions)):
        print(f"calls a row  {title}")
        for name, count in counts.most_common(25):
            print(f"{count / rows:11.1f}  {name}")
        print()


if __name__ == "__main__":
    main()
