"""What the benchmark's table says of what was measured."""

from __future__ import annotations

from benchmarks.compare import Entry, Turn, notes, table
from benchmarks.contenders import Contender
from benchmarks.measure import Usage
from benchmarks.pace import fullest_second


def entry(name: str, scheme: str = "http") -> Entry:
    return Entry(Contender(name, lambda course: []), scheme)


def turns(*rates: int) -> list[Turn]:
    return [Turn(rate, Usage(seconds=1, cpu=0.5, peak=30)) for rate in rates]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratios_are_taken_turn_by_turn() -> None:
    shown = {entry("engager"): turns(50, 100, 10), entry("wrk"): turns(100, 200, 40)}
    wrk, engager = (cells(line) for line in table(shown, {})[2:])
    assert wrk[:4] == ["wrk", "http", "100", "(40–200)"]
    assert engager == ["engager", "http", "50", "(10–100)", "10000.0", "30", "0.50", "–"]


def test_what_cannot_be_had_stands_last_and_its_reason_below_once() -> None:
    absent = {entry("k6"): "not here", entry("k6", "https"): "not here"}
    shown = {**{each: turns() for each in absent}, entry("wrk"): turns(5), entry("wrk", "https"): turns(5)}
    names = [cells(line)[:3] for line in table(shown, absent)[2:]]
    assert [name[2] for name in names] == ["5", "not available"] * 2
    assert notes(absent) == ["- k6 (http, https): not here"]


def test_the_fullest_second_is_a_sliding_one() -> None:
    assert fullest_second([0.0, 0.9, 1.0, 1.1, 1.8, 5.0]) == 4
