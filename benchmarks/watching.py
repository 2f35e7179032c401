"""What it costs to watch a run: its live view, its page in a browser and a scraper of its metrics."""

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


def cost(folder: Path, rows: int, turns: int) -> str:
    write_people(folder / "people.csv", rows)
    taken: dict[bool, list[Usage]] = {True: [], False: []}
    with endpoint(folder) as server:
        course = Course(folder, server.plain, folder / "people.csv", rows)
        for turn in range(turns + 1):
            for watched in (False, True):
                usage = _watched(course, folder) if watched else run(engager()(course), folder)
                if turn:  # the first turn warms up
                    taken[watched].append(usage)
    lines = [["run", "rows/s", "CPU µs/row", "rows/s to alone", "CPU to alone", "(least–most)"]]
    for watched, name in ((False, "alone"), (True, "watched")):
        pairs = list(zip(taken[watched], taken[False], strict=True))
        pace = spread([rows / one.seconds for one, _ in pairs])
        cpu = spread([one.cpu / rows * 1e6 for one, _ in pairs])
        slower = spread([other.seconds / one.seconds for one, other in pairs])
        dearer = spread([one.cpu / other.cpu for one, other in pairs])
        figures = (f"{pace.median:,.0f}", f"{cpu.median:.1f}", f"{slower.median:.3f}", f"{dearer.median:.3f}")
        lines.append([name, *figures, f"({dearer.least:.3f}–{dearer.most:.3f})"])
    return "\n".join([f"{rows:,} rows, {turns} turns: medians.", machine(), "", *aligned(lines)])


def _watched(course: Course, folder: Path) -> Usage:
    command = [flag for flag in engager()(course) if flag not in ("--no-progress", "--quiet")]
    ours, theirs = pty.openpty()
    os.set_inheritable(theirs, True)
    audience = threading.Thread(target=_watch, args=(ours,), daemon=True)
    audience.start()
    try:
        return run([*command, "--page", "127.0.0.1:0"], folder, stderr=theirs)
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
            if not started and (found := re.search(rb"http://\S+key=\S+", said)):
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
