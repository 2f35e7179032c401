"""Results are read to their last whole line, whatever a crash or an editor left."""

from __future__ import annotations

from pathlib import Path

import pytest

from engager.models import Status
from engager.output.report.lines import ResultLines
from tests.output.report.made import made, outcome

ODD = 'a "quoted",\nbroken text'


@pytest.mark.parametrize("results", ["jsonl", "csv"])
async def test_every_line_is_read_in_its_types(tmp_path: Path, results: str) -> None:
    outcomes = [outcome(1), outcome(2, Status.FAILED, error=503, error_text=ODD, duplicate=True)]
    lines = ResultLines(await made(tmp_path, outcomes, results=results))
    first, second = lines
    assert (first["latency_ms"], first["attempts"], first["duplicate"]) == (21.0, 1, False)
    assert (second["error_text"], second["duplicate"], second["status"]) == (ODD, True, "failed")
    assert (lines.torn, lines.damaged) == (False, 0)


@pytest.mark.parametrize("results", ["jsonl", "csv"])
async def test_wherever_the_last_line_is_torn_it_is_left_out(tmp_path: Path, results: str) -> None:
    outcomes = [outcome(1), outcome(2), outcome(3, Status.FAILED, error=503, error_text=ODD)]
    run = await made(tmp_path, outcomes, results=results)
    path = tmp_path / f"results.{results}"
    data = path.read_bytes()
    # A line of CSV may hold line ends: where the last record begins is known by its number.
    begin = data.rindex(b'{"row":3' if results == "jsonl" else b"\n3,") + (results == "csv")
    for end in range(begin + 1, len(data)):
        path.write_bytes(data[:end])
        lines = ResultLines(run)
        assert [int(line["row"]) for line in lines] == [1, 2]
        assert lines.torn, data[begin:end]


@pytest.mark.parametrize(("results", "bad"), [("jsonl", b"{oh no\n"), ("csv", b"oh,no\n")])
async def test_a_damaged_line_costs_itself(tmp_path: Path, results: str, bad: bytes) -> None:
    run = await made(tmp_path, [outcome(1)], results=results)
    path = tmp_path / f"results.{results}"
    *_, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(path.read_bytes() + bad + last)
    lines = ResultLines(run)
    assert (len(list(lines)), lines.damaged, lines.torn) == (2, 1, False)


async def test_what_is_appended_meanwhile_is_for_another_time(tmp_path: Path) -> None:
    run = await made(tmp_path, [outcome(row) for row in range(1, 4)])
    lines = ResultLines(run)
    reader = iter(lines)
    next(reader)
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'{"row": 4}\n' * 5000)
    assert len(list(reader)) == 2
    assert not lines.torn


async def test_without_a_file_there_are_no_lines(tmp_path: Path) -> None:
    run = await made(tmp_path, [])
    (tmp_path / "results.jsonl").unlink()
    assert list(ResultLines(run)) == []
