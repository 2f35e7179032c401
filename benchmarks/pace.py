"""What a rate costs, and whether it is kept, by the log of nginx: through stalls and stops, and divided."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.clients.bodies import write_people
from benchmarks.contenders import Course, engager
from benchmarks.endpoints import Endpoint, endpoint, free_ports, wait_for
from benchmarks.measure import client_cores, run, spread, start
from benchmarks.table import aligned, machine

#: Seconds of a stall, and the least and most between two of them.
STALL, BETWEEN = 0.4, (0.5, 2.5)

#: Seconds at the start of a run of several senders in which they get their shares.
START = 2.0

#: How often a run is stopped and continued.
STOPS = 3


def cost(
    folder: Path, rates: Sequence[float], seconds: float, turns: int, stalls: bool, settings: Sequence[str]
) -> str:
    """Runs at each rate beside the same rows without one, in turns."""
    lines = [["rate", "CPU µs/row", "without a rate", "more", "(least–most)", "achieved/s", "fullest second"]]
    seen = folder / "moments"
    with endpoint(folder, log=seen) as server:
        for rate in rates:
            rows = int(rate * seconds)
            write_people(folder / "people.csv", rows)
            course = Course(folder, server.plain, folder / "people.csv", rows)
            free, paced, times = [], [], list[list[float]]()
            for _ in range(turns):
                free.append(_cpu(course, settings, False))
                before = len(_moments(seen))
                paced.append(_cpu(course, [*settings, f"limits.rate={rate}"], stalls))
                times.append(sorted(_moments(seen)[before:]))
            more = spread([with_rate - without for with_rate, without in zip(paced, free, strict=True)])
            achieved = spread([(len(each) - 1) / (each[-1] - each[0]) for each in times]).median
            worst = max(map(fullest_second, times))
            figures = [f"{rate:g}", f"{spread(paced).median:.0f}", f"{spread(free).median:.0f}"]
            figures += [f"{more.median:.0f}", f"({more.least:.0f}–{more.most:.0f})", f"{achieved:.1f}"]
            lines.append([*figures, f"{worst} ({worst / rate - 1:+.1%})"])
    options = f", stopped for {STALL} s now and then" if stalls else ""
    head = f"{seconds:g} s a run{options}, {turns} turns: medians; the fullest second is of all turns."
    return "\n".join([head, machine(), load(), "", *aligned(lines)])


def _cpu(course: Course, settings: Sequence[str], stalls: bool) -> float:
    command = engager(*settings)(course)
    if not stalls:
        return run(command, course.folder).cpu / course.rows * 1e6
    process = _start(command, course.folder)
    with stalled(process):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return (usage.ru_utime + usage.ru_stime) / course.rows * 1e6


def _start(command: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "BENCHMARK_TOKEN": "benchmark"}
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    return start(command, client_cores(1), cwd=folder, env=environment, **quiet)


@contextmanager
def stalled(process: subprocess.Popen[str]) -> Iterator[None]:
    """Stop and continue a process now and then, as long as this is entered."""
    ended = threading.Event()

    def stall() -> None:
        while not ended.wait(random.uniform(*BETWEEN)):
            try:
                os.kill(process.pid, signal.SIGSTOP)
                ended.wait(STALL)
                os.kill(process.pid, signal.SIGCONT)
            except ProcessLookupError:
                return

    thread = threading.Thread(target=stall)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def stopped(
    folder: Path, rates: Sequence[float], rows: int, runs: int, stalls: bool, settings: Sequence[str]
) -> str:
    """Runs that are stopped (SIGTERM) and continued: how each ends, its rows, and the fullest second."""
    lines = [["run", "rate", "exit codes", "rows by status", "requests", "fullest second"]]
    seen, failed = folder / "moments", 0
    write_people(folder / "people.csv", rows)
    with endpoint(folder, log=seen) as server:
        for number in range(1, runs + 1):
            rate = rates[(number - 1) % len(rates)]
            before = len(_moments(seen))
            codes, statuses = _one(folder, server, rows, [*settings, f"limits.rate={rate}"], rate, stalls)
            times = sorted(_moments(seen)[before:])
            worst = fullest_second(times)
            failed += codes[-1] != 0 or worst > rate * 1.02
            text = ", ".join(f"{count:,} {status}" for status, count in statuses.items() if count)
            share = f"{worst} ({worst / rate - 1:+.1%})"
            lines.append(
                [str(number), f"{rate:g}", " ".join(map(str, codes)), text, f"{len(times):,}", share]
            )
    options = f", and stalled for {STALL} s now and then" if stalls else ""
    head = f"{runs} runs of {rows:,} rows, each stopped and continued {STOPS} times{options}."
    verdict = f"{runs - failed} of {runs} end with 0 and keep every second to the rate + 2 %."
    return "\n".join([head, machine(), load(), "", *aligned(lines), "", verdict])


def _one(
    folder: Path, server: Endpoint, rows: int, settings: Sequence[str], rate: float, stalls: bool
) -> tuple[list[int], dict[str, int]]:
    command = engager(*settings)(Course(folder, server.plain, folder / "people.csv", rows))
    codes = []
    for _ in range(STOPS):
        process = _start(command, folder)
        _await_rows(server, process, rows / (STOPS + 1))
        process.send_signal(signal.SIGTERM)
        codes.append(process.wait())
    process = _start(command, folder)
    if stalls:
        with stalled(process):
            process.wait()
    codes.append(process.wait())
    return codes, json.loads((folder / "run" / "summary.json").read_bytes())["statuses"]


def _await_rows(server: Endpoint, process: subprocess.Popen[str], count: float) -> None:
    """Wait until the endpoint has answered so many more."""
    begun = server.answered()
    while process.poll() is None and server.answered() - begun < count:
        time.sleep(0.05)


def divided(
    folder: Path,
    rates: Sequence[float],
    seconds: float,
    senders: int,
    is_cluster: bool,
    settings: Sequence[str],
) -> str:
    """Runs that several senders of this machine share: when requests left them, and when they came."""
    head = ["rate", "departures/s", "fullest second", "at the endpoint/s", "fullest second"]
    lines, seen = [head], folder / "moments"
    with endpoint(folder, log=seen) as server, _cluster(folder, senders if is_cluster else 0) as address:
        where = [f"cluster.scheduler={address}", f"cluster.at_least={senders}"]
        where = where if is_cluster else [f"limits.processes={senders}"]
        for rate in rates:
            rows, before = int(rate * seconds), len(_moments(seen))
            write_people(folder / "people.csv", rows)
            course = Course(folder, server.plain, folder / "people.csv", rows)
            _, *command = engager(*where, f"limits.rate={rate}", *settings)(course)
            program = [sys.executable, "-m", "benchmarks.clients.departures", str(folder / "left")]
            run([*program, *command], folder, os.cpu_count() or 1)
            figures = [f"{rate:g}"]
            for times in (sorted(_moments(folder / "left")), sorted(_moments(seen)[before:])):
                figures += [f"{_average(times):.1f}", _share(fullest_second(times), rate)]
            lines.append(figures)
    kind = "workers of a Dask cluster" if is_cluster else "processes"
    title = f"{senders} {kind}, {seconds:g} s a run; averages without the first {START:g} s."
    return "\n".join([title, machine(), load(), "", *aligned(lines)])


def _average(times: Sequence[float]) -> float:
    """The moments per second, after the start."""
    later = [moment for moment in times if moment > times[0] + START]
    return (len(later) - 1) / (later[-1] - later[0])


def _share(worst: int, rate: float) -> str:
    return f"{worst} ({worst / rate - 1:+.1%})"


@contextmanager
def _cluster(folder: Path, workers: int) -> Iterator[str]:
    """A Dask cluster of this machine with so many workers; yields the address of its scheduler."""
    if not workers:
        yield ""
        return
    port = free_ports(1)[0]
    address, quiet = f"tcp://127.0.0.1:{port}", dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
    environment, python = {**os.environ, "BENCHMARK_TOKEN": "benchmark"}, [sys.executable, "-m"]
    scheduler = [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
    worker = [*python, "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1"]
    commands = [[*command, "--no-dashboard"] for command in (scheduler, *[worker] * workers)]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            started.append(subprocess.Popen(command, cwd=folder, env=environment, **quiet))  # type: ignore[call-overload]
            if command is commands[0]:
                wait_for(port, started[0])  # type: ignore[arg-type]
        yield address
    finally:
        for process in started:
            process.kill()
            process.wait()


def _moments(log: Path) -> list[float]:
    return list(map(float, log.read_text().split())) if log.exists() else []


def fullest_second(times: Sequence[float]) -> int:
    """The most of these moments that any second holds."""
    first = worst = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - 1:
            first += 1
        worst = max(worst, last - first + 1)
    return worst


def load() -> str:
    """What this machine is busy with, and how much of a second it keeps from a process that never waits."""
    begun = last = time.monotonic()
    lost = 0.0
    while last < begun + 2:
        now = time.monotonic()
        lost += now - last if now - last > 0.002 else 0
        last = now
    average = os.getloadavg()[0]
    return f"load average {average:.1f}; {lost / 2:.0%} of the time kept from a process that never waits"
