"""A command in, what it took out: seconds, CPU seconds, peak memory. It is pinned to the client's cores."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The endpoint's core; a client of one process has core 0 to itself.
SERVER_CORE = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """What a finished command took."""

    seconds: float
    cpu: float
    peak: float  #: MB, of all its processes together


class FailedError(Exception):
    """The command did not end well; the text is the last thing that it said."""


def client_cores(processes: int) -> list[int]:
    """Cores for so many processes, the endpoint's last: on a machine of two cores the second is shared."""
    cores = sorted(os.sched_getaffinity(0), key=lambda core: core == SERVER_CORE)
    return cores[:processes]


def start(
    command: Sequence[str], cores: Iterable[int], first: bool = False, **options: Any
) -> subprocess.Popen[str]:
    """Start a command that has these cores only; `first`: before others there, where that is allowed."""
    chosen = set(cores)

    def pin() -> None:
        os.sched_setaffinity(0, chosen)
        if first:
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, 0, -20)

    return subprocess.Popen(command, preexec_fn=pin, text=True, **options)


def run(command: Sequence[str], folder: Path, processes: int = 1, stderr: int | None = None) -> Usage:
    """Carry a command out to its end; `stderr`: where else it may talk to. Raises FailedError."""
    environment = {**os.environ, "BENCHMARK_TOKEN": "benchmark"}
    with tempfile.TemporaryFile("w+") as said:
        begun = time.perf_counter()
        process = start(
            command,
            client_cores(processes),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said if stderr is None else stderr,
        )
        memory = Memory(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = max(memory.total(), usage.ru_maxrss / 1024)
        if status:
            said.seek(0)
            reported = said.read().strip().splitlines() or [f"ended with {process.returncode}"]
            raise FailedError(reported[-1])
    return Usage(seconds, usage.ru_utime + usage.ru_stime, peak)


class Memory(threading.Thread):
    """Watches the peaks of a process and of its children, whose sum no system call tells."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = pid
        self._peaks: dict[int, float] = {}
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.2):
            for pid in _tree(self._root):
                self._peaks[pid] = max(self._peaks.get(pid, 0), _peak(pid))

    def total(self) -> float:
        """Stop watching; the sum of the peaks in MB."""
        self._ended.set()
        self.join()
        return sum(self._peaks.values())


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in _tree(int(child)))]


def _peak(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of several turns."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
