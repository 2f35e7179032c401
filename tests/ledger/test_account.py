"""An account that is taken up again: what files lost is known as lost until it is written again."""

from __future__ import annotations

from pathlib import Path

from engager.ledger.account import begin, resume
from engager.ledger.line_file import LineFile
from engager.ledger.lines import JsonLines, MendableJson
from engager.ledger.recorder import Formats, Recorder
from engager.ledger.run_directory import find_run, new_run
from engager.model import Invalid, Outcome, Row, Status


def _keep(text: str) -> str:
    return text


FORMATS = Formats(JsonLines(), MendableJson(_keep), _keep)
ROW = Row(1, 1, "people.jsonl", {"email": "x"})


def taken_up(path: Path) -> Recorder:
    run = find_run(path)
    assert run is not None
    return resume(run, FORMATS, synced=False)


def test_what_stands_in_a_file_that_the_ledger_knows_as_empty_goes(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "failed.jsonl", b"")
    file.path.write_bytes(b'{"torn')
    assert file.restore([0, [[0, 0]]])
    assert file.path.read_bytes() == b""


async def test_a_second_file_is_lost_while_the_first_is_mended(tmp_path: Path) -> None:
    recorder = begin(new_run(tmp_path), FORMATS, 1 << 16, synced=False)
    recorder.due([ROW])
    await recorder.record(Outcome(ROW, "x", Status.INVALID, error="malformed"))
    recorder.close()
    (tmp_path / "failed.jsonl").unlink()
    recorder = taken_up(tmp_path)
    again = recorder.recalled(Invalid(ROW, "x", "malformed", ""))
    assert isinstance(again, Outcome)
    await recorder.restore(again)
    recorder.abandon()  # a kill: the line is in the journal only
    (tmp_path / "results.jsonl").unlink()
    recorder = taken_up(tmp_path)
    assert recorder.due([ROW]) == [ROW]
    recorder.abandon()


async def test_a_repair_that_was_killed_is_not_forgotten(tmp_path: Path) -> None:
    recorder = begin(new_run(tmp_path), FORMATS, 1 << 16, synced=False)
    recorder.due([ROW])
    await recorder.record(Outcome(ROW, "x", Status.INVALID, error="malformed"))
    recorder.close()
    (tmp_path / "failed.jsonl").unlink()
    taken_up(tmp_path).abandon()
    recorder = taken_up(tmp_path)
    assert recorder.due([ROW]) == [ROW]
    recorder.abandon()
