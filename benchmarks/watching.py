"""What it costs to watch a run: by a live view or a JSON log, a page, a scraper, and metrics at the end."""

from __future__ import annotations

import http.client
import os
import pty
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.clients.bodies import write_people
from benchmarks.contenders import Course, engager
from benchmarks.endpoints import endpoint
from benchmarks.measure import SERVER_CORE, Usage, run, spread
from benchmarks.table import aligned, machine

#: Seconds between two looks at the metrics.
SCRAPE_EVERY = 1.0

#: Every way to watch a run at once, but that stderr is a live view or a JSON log.
ALL = ("--page", "127.0.0.1:0", "--set", "output.metrics=night.prom")

#: The options of each kind of run; None: it is not watched.
KINDS: dict[str, tuple[str, ...] | None] = {
    "alone": None,
    "all, on a terminal": ALL,
    "all, with a JSON log": (*ALL, "--log-format", "json"),
}


def cost(folder: Path, rows: int, turns: int) -> str:
    write_people(folder / "people.csv", rows)
    taken: dict[str, list[Usage]] = {kind: [] for kind in KINDS}
    with endpoint(folder) as server:
        course = Course(folder, server.plain, folder / "people.csv", rows)
        for turn in range(turns + 1):
            for kind, options in KINDS.items():
                command = engager()(course)
                usage = run(command, folder) if options is None else _watched(command, options, folder)
                if turn:  # the first turn warms up
                    taken[kind].append(usage)
    lines = [
        [
            "watched by",
            "rows/s",
            "CPU µs/row",
            "rows/s to alone",
            "(least–most)",
            "CPU to alone",
            "(least–most)",
        ]
    ]
    for kind in KINDS:
        pairs = list(zip(taken[kind], taken["alone"], strict=True))
        pace = spread([rows / one.seconds for one, _ in pairs])
        cpu = spread([one.cpu / rows * 1e6 for one, _ in pairs])
        slower = spread([other.seconds / one.seconds for one, other in pairs])
        dearer = spread([one.cpu / other.cpu for one, other in pairs])
        ratios = [
            part
            for one in (slower, dearer)
            for part in (f"{one.median:.3f}", f"({one.least:.3f}–{one.most:.3f})")
        ]
        lines.append([kind, f"{pace.median:,.0f}", f"{cpu.median:.1f}", *ratios])
    return "\n".join([f"{rows:,} rows, {turns} turns: medians.", machine(), "", *aligned(lines)])


def _watched(command: list[str], options: tuple[str, ...], folder: Path) -> Usage:
    shown = [flag for flag in command if flag not in ("--no-progress", "--quiet")]
    ours, theirs = pty.openpty()
    os.set_inheritable(theirs, True)
    audience = threading.Thread(target=_watch, args=(ours,), daemon=True)
    audience.start()
    try:
        return run([*shown, *options], folder, stderr=theirs)
    finally:
        os.close(theirs)
        audience.join(10)
        os.close(ours)


def _watch(terminal: int) -> None:
    """Read the terminal to its end; as soon as the page's address is there, look at that too."""
    os.sched_setaffinity(0, {SERVER_CORE})
    said, started = b"", False
    with suppress(OSError):
        while data := os.read(terminal, 1 << 16):
            said = (said + data)[-4096:]
            if not started and (found := re.search(rb"http://[^\s\"]+key=[^\s\"]+", said)):
                started = True
                for look in (_browse, _scrape):
                    threading.Thread(target=look, args=(found[0].decode(),), daemon=True).start()


def _browse(url: str) -> None:
    parts = urlsplit(url)
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        connection.request("GET", f"/?{parts.query}")
        entered = connection.getresponse()
        entered.read()
        cookie = entered.headers["Set-Cookie"].split(";")[0]
        connection.request("GET", "/events", headers={"Cookie": cookie})
        stream = connection.getresponse()
        while stream.readline():
            pass


def _scrape(url: str) -> None:
    parts = urlsplit(url)
    with suppress(OSError, http.client.HTTPException):
        while True:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
            connection.request("GET", "/metrics")
            connection.getresponse().read()
            connection.close()
            time.sleep(SCRAPE_EVERY)
