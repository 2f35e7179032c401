"""A Dask cluster on this machine, whose processes can be killed, stopped and started anew.

Each process executes the command of Dask (`dask scheduler`, `dask worker --no-nanny`), forked from one which
has imported it: a cluster stands in about a second.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.endpoints import free_ports
from tests.crash.forks import FORKS, PRELOADED
from tests.crash.network import FarPlace, enter

COMMANDS = ("scheduler", "worker")

#: Seconds in which a process of the cluster must stand, also on a busy machine.
PATIENCE = 60.0


def preload_dask() -> None:
    """Let the processes that are forked from now on have Dask already, unless there was one before."""
    further = ["engager.sending.remote.cluster", *[f"distributed.cli.dask_{name}" for name in COMMANDS]]
    FORKS.set_forkserver_preload([*PRELOADED, *further])


class LocalCluster:
    """A scheduler and its workers. The scheduler keeps its address when it is started anew."""

    def __init__(self, folder: Path, workers: int = 3, far: FarPlace | None = None) -> None:
        """`far`: where one of the workers is."""
        self._folder, self._size, self.far = folder, workers, far
        self.address = f"tcp://{far.host if far else '127.0.0.1'}:{free_ports(1)[0]}"
        self._scheduler: BaseProcess | None = None
        self._workers: list[BaseProcess] = []
        self._far_worker: BaseProcess | None = None

    @property
    def workers(self) -> list[BaseProcess]:
        """The workers that live, stopped ones among them."""
        self._workers = [worker for worker in self._workers if worker.is_alive()]
        return self._workers

    @property
    def has_scheduler(self) -> bool:
        return self._scheduler is not None and self._scheduler.is_alive()

    @property
    def scheduler_pid(self) -> int:
        assert self._scheduler is not None
        assert self._scheduler.pid is not None
        return self._scheduler.pid

    async def complete(self) -> None:
        """Start what is missing: the scheduler, and so many workers; end what is too much."""
        if not self.has_scheduler:
            await self.start_scheduler()
        for worker in self.workers[self._size :]:
            worker.kill()
        for _ in range(self._size - len(self.workers)):
            self.start_worker()

    async def start_scheduler(self) -> None:
        """Start a scheduler, and wait until it listens. Workers of an earlier one end, as Dask has it."""
        self.kill_workers()
        host, port = self.address.removeprefix("tcp://").split(":")
        self._scheduler = self._start("scheduler", ["--host", host, "--port", port])
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(host, int(port))
                    writer.close()
                    return
                await asyncio.sleep(0.02)

    def start_worker(self) -> None:
        """Start a worker, which joins when it is ready."""
        options = ["--no-nanny", "--nthreads", "1", "--memory-limit", "0", "--death-timeout", "60"]
        folder = ["--local-directory", str(self._folder)]
        is_far = self.far is not None and not self.has_far_worker
        host = ["--host", self.far.worker] if self.far and is_far else []
        namespace = self.far.name if self.far and is_far else ""
        worker = self._start("worker", [self.address, *options, *folder, *host], namespace)
        self._workers.append(worker)
        if is_far:
            self._far_worker = worker

    @property
    def has_far_worker(self) -> bool:
        return self._far_worker is not None and self._far_worker.is_alive()

    def _start(self, command: str, options: Sequence[str], namespace: str = "") -> BaseProcess:
        args = (str(self._folder), f"dask_{command}", [*options, "--no-dashboard"], namespace)
        process = FORKS.Process(target=_dask, args=args, daemon=True)
        process.start()
        return process

    def kill_scheduler(self) -> None:
        if self._scheduler is not None:
            _end(self._scheduler)

    def kill_workers(self) -> None:
        for worker in self.workers:
            _end(worker)

    def close(self) -> None:
        """Kill every process."""
        self.kill_workers()
        self.kill_scheduler()


def _end(process: BaseProcess) -> None:
    process.kill()
    process.join()


def _dask(folder: str, command: str, options: list[str], namespace: str) -> None:
    """Execute a command of Dask in this process."""
    if namespace:
        enter(namespace)
    os.chdir(folder)
    out = os.open("dask.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(out, stream)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.argv = [command, *options]
    importlib.import_module(f"distributed.cli.{command}").main(options)
