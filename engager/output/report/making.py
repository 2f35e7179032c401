"""How a run was made: how it sent, how often it was started, and how it ended."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import orjson

from engager.errors import Exit
from engager.output.report.text import number
from engager.output.text import plural
from engager.store.disk import open_file
from engager.store.run_directory import RunDirectory

#: What the exit code of a run means.
MEANINGS: Mapping[int, str] = {
    Exit.DONE: "every row that was due is engaged, accepted or skipped",
    Exit.INCOMPLETE: "every row that was due has an outcome, and some are not engaged",
    Exit.WRONG: "the job or the input is wrong",
    Exit.STOPPED: "stopped before the end by a rule",
    Exit.INTERNAL: "an internal error, or a fault of the machine",
    Exit.HUNG_UP: "interrupted (SIGHUP)",
    Exit.INTERRUPTED: "interrupted (SIGINT)",
    Exit.TERMINATED: "interrupted (SIGTERM)",
}

#: The line of an event in a log of text.
_EVENT = re.compile(rb"[-0-9]{10} [:,0-9]{12} (?:INFO|ERROR) (began|ended|error) \{")

_EVENTS = ("began", "ended", "error")

#: Number of senders that are shown.
_SENDERS = 10


def making(run: RunDirectory, seen: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How a run was made as pairs of term and text, of what is known."""
    sending, running = run.invocation.get("sending"), seen["state"] == "running"
    found = list(_sending(sending)) if sending else []
    if text := _starts(run, running):
        found.append(("starts", text))
    if text := _senders((run.summary() or {}).get("senders") or {}):
        found.append(("senders", text))
    if (code := seen["exit_code"]) is not None:
        found.append(("exit code", f"{code}: {MEANINGS.get(code, 'unknown')}"))
    return found


def _sending(sending: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    rate, concurrency = sending["rate"], sending["concurrency"]
    yield "delivery", sending["mode"]
    yield "rate", "no limit" if rate is None else _limit(rate, "requests/s")
    yield "concurrency", _limit(concurrency, "requests in flight")
    if rows := sending["batch_rows"]:
        yield "batch", f"at most {plural(rows, 'row')} in a request"


def _senders(sent: Mapping[str, int]) -> str:
    """How much each sender sent since the last start; empty if the run itself sent."""
    shown = [f"{name}: {plural(requests, 'request')}" for name, requests in islice(sent.items(), _SENDERS)]
    return f"{len(sent):,}; {', '.join(shown)}{', …' if len(sent) > _SENDERS else ''}" if sent else ""


def _limit(value: float | str, unit: str) -> str:
    return "found by itself (auto)" if isinstance(value, str) else f"at most {number(value)} {unit}"


def _starts(run: RunDirectory, running: bool) -> str:
    """How many processes worked on the run, by its log; empty without one."""
    starts = killed = 0
    under_way = False
    for event in _events(run):
        if event == "began":
            starts, killed = starts + 1, killed + under_way
        under_way = event == "began"
    killed += under_way and not running
    if not starts:
        return ""
    return f"{starts:,}, {killed:,} of them killed or interrupted at once" if killed else f"{starts:,}"


def _events(run: RunDirectory) -> Iterator[str]:
    """The beginnings and ends of processes in the log of a run."""
    try:
        file = os.fdopen(open_file(run.log_path, os.O_RDONLY), "rb")
    except OSError:
        return
    with file:
        for line in file:
            if line.startswith(b"{"):
                with suppress(ValueError):
                    if (event := orjson.loads(line).get("event")) in _EVENTS:
                        yield event
            elif found := _EVENT.match(line):
                yield found[1].decode()
