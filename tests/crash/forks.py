"""Processes that are forked from one which has imported what a run needs: each begins within milliseconds.

A Python of its own spends a third of a second on these imports, and the tests begin hundreds of processes.
What a fork does not show (the imports themselves, what is done before them, a terminal) has such a Python.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from engager import cli

FORKS = multiprocessing.get_context("forkserver")
#: With `pytest`, as each fork reads the script again that it descends from.
PRELOADED = [
    "tests.crash.forks",
    "tests.crash.deadly",
    "engager.sandbox",
    "engager.output.report.page",
    "pytest",
]
FORKS.set_forkserver_preload(PRELOADED)


class Forked:
    """The command in a process of its own; to be handled like one of asyncio's."""

    def __init__(
        self, process: BaseProcess, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader
    ) -> None:
        self._process, self.stdout, self.stderr = process, stdout, stderr
        self.stdin = None

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    async def communicate(self) -> tuple[bytes, bytes]:
        reported = await asyncio.gather(self.stdout.read(), self.stderr.read())
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, ended.set)
        await ended.wait()
        loop.remove_reader(self._process.sentinel)
        self._process.join()
        return reported[0], reported[1]


async def engager_in(folder: Path, args: Sequence[str], environment: Mapping[str, str]) -> Forked:
    """Start the command in a folder, with nothing on its stdin."""
    (out, their_out), (err, their_err) = FORKS.Pipe(duplex=False), FORKS.Pipe(duplex=False)
    theirs = (their_out, their_err)
    process = FORKS.Process(target=_engager, args=(str(folder), list(args), dict(environment), theirs))
    process.start()
    for end in theirs:
        end.close()
    return Forked(process, await _reader(out), await _reader(err))


async def _reader(pipe: Connection) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


def _engager(
    folder: str, args: list[str], environment: dict[str, str], streams: tuple[Connection, Connection]
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = ["engager", *args]
    cli.main(args)
