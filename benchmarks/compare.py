"""Rows and turns in, one table out: engager beside other clients, plain and over TLS, in rotation.

Every run is whole, the start of its process included. Requests are counted by the endpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients.bodies import write_people
from benchmarks.contenders import CONNECTIONS, CONTENDERS, Contender, Course
from benchmarks.endpoints import Endpoint, endpoint
from benchmarks.environment import find
from benchmarks.measure import FailedError, Usage, run, spread
from benchmarks.table import aligned, machine

#: The clients that the others are held against.
MEASURES = ("wrk", "hey")


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender on one of the two schemes."""

    contender: Contender
    scheme: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What one run of an entry showed."""

    requests: int
    usage: Usage

    @property
    def rate(self) -> float:
        return self.requests / self.usage.seconds


def compare(folder: Path, rows: int, turns: int, only: Sequence[str], reasons: dict[str, str]) -> str:
    """Carry all out and write down what they showed."""
    entries = [Entry(contender, scheme) for scheme in ("http", "https") for contender in chosen(only)]
    shown: dict[Entry, list[Turn]] = {entry: [] for entry in entries}
    missing: dict[Entry, str] = {}
    with endpoint(folder) as server:
        for turn in range(turns + 1):
            start = turn * len(entries) // (turns + 1)
            for entry in entries[start:] + entries[:start]:
                if entry in missing:
                    continue
                print(f"turn {turn} of {turns}: {entry.contender.name}, {entry.scheme}", file=sys.stderr)
                try:
                    # Turn 0 warms up, with fewer rows, and shows who cannot take part.
                    seen = take_turn(folder, server, entry, rows if turn else max(rows // 10, 500), reasons)
                except FailedError as fault:
                    missing[entry] = str(fault)
                else:
                    shown[entry] += [seen] if turn else []
    head = f"{rows:,} rows a run, {CONNECTIONS} connections, {turns} turns in rotation: medians (least–most)."
    return "\n".join([head, machine(), "", *table(shown, missing), "", *notes(missing)])


def chosen(only: Sequence[str]) -> list[Contender]:
    found = [each for each in CONTENDERS if not only or any(part in each.name for part in only)]
    return found or sys.exit(f"benchmarks: no client is called {only}.")


def take_turn(folder: Path, server: Endpoint, entry: Entry, rows: int, reasons: dict[str, str]) -> Turn:
    """One whole run. Raises FailedError, also where other requests were sent than were asked for."""
    contender = entry.contender
    if contender.tool and not find(contender.tool):
        raise FailedError(reasons.get(contender.tool, f"there is no {contender.tool} here"))
    rows = max(int(rows * contender.share), 100)
    people = folder / f"people-{rows}.csv"
    if not people.exists():
        write_people(people, rows)
    origin = server.plain if entry.scheme == "http" else server.tls
    command = contender.command(Course(folder, origin, people, rows, server.certificate))
    before = server.answered()
    usage = run(command, folder, contender.processes)
    sent = server.answered() - before - 1
    # Tools that divide requests among connections round down; what ends by the clock is asked for no number.
    if not contender.timed and not rows - CONNECTIONS < sent <= rows:
        raise FailedError(f"sent {sent:,} requests instead of {rows:,}")
    return Turn(sent, usage)


def table(shown: dict[Entry, list[Turn]], missing: dict[Entry, str]) -> list[str]:
    head = ["client", "over", "requests/s", "(least–most)", "CPU µs/request", "peak MB", "× wrk", "× hey"]
    return aligned([head, *(line(entry, turns, shown) for entry, turns in sorted_by_rate(shown, missing))])


def sorted_by_rate(
    shown: dict[Entry, list[Turn]], missing: dict[Entry, str]
) -> list[tuple[Entry, list[Turn]]]:
    """Plain before TLS, the fastest first, those that cannot be had last."""
    lines = [(entry, [] if entry in missing else turns) for entry, turns in shown.items()]
    return sorted(lines, key=lambda each: (each[0].scheme, -median_rate(each[1])))


def median_rate(turns: list[Turn]) -> float:
    return spread([turn.rate for turn in turns]).median if turns else 0


def line(entry: Entry, turns: list[Turn], shown: dict[Entry, list[Turn]]) -> list[str]:
    name = [entry.contender.name, entry.scheme]
    if not turns:
        return [*name, "not available", "", "", "", "", ""]
    rate = spread([turn.rate for turn in turns])
    cpu = spread([turn.usage.cpu / turn.requests * 1e6 for turn in turns])
    peak = spread([turn.usage.peak for turn in turns])
    ratios = [ratio(turns, held_against(measure, entry.scheme, shown)) for measure in MEASURES]
    around = f"({rate.least:,.0f}–{rate.most:,.0f})"
    return [*name, f"{rate.median:,.0f}", around, f"{cpu.median:.1f}", f"{peak.median:.0f}", *ratios]


def held_against(name: str, scheme: str, shown: dict[Entry, list[Turn]]) -> list[Turn]:
    found = [
        turns for entry, turns in shown.items() if (entry.contender.name, entry.scheme) == (name, scheme)
    ]
    return found[0] if found else []


def ratio(turns: list[Turn], others: list[Turn]) -> str:
    """The median of the ratios turn by turn: a slow minute of the machine slows both."""
    if len(turns) != len(others):
        return "–"
    return f"{spread([one.rate / other.rate for one, other in zip(turns, others, strict=True)]).median:.2f}"


def notes(missing: dict[Entry, str]) -> list[str]:
    """Why something is not available: once where the reason is the same plain and over TLS."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry, reason in missing.items():
        reasons.setdefault((entry.contender.name, reason), []).append(entry.scheme)
    return [f"- {name} ({', '.join(over)}): {reason}" for (name, reason), over in reasons.items()]
