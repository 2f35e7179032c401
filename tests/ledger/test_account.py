"""An account that is taken up again: what files lost is known as lost until it is written again."""

from __future__ import annotations

from pathlib import Path

from engager.model import Invalid, Outcome, Row, Status
from engager.store.lines import MendableJson
from tests.ledger.kept import Kept

ROW = Row(1, 1, "people.jsonl", {"email": "x"})


async def taken_up(path: Path) -> Kept:
    return await Kept.opened(path, MendableJson(str))


async def test_a_second_file_is_lost_while_the_first_is_mended(tmp_path: Path) -> None:
    kept = await taken_up(tmp_path)
    await kept.record(Outcome(ROW, "x", Status.INVALID, error="malformed"))
    await kept.finish()
    (tmp_path / "failed.jsonl").unlink()
    kept = await taken_up(tmp_path)
    (again,) = kept.recorder.recalled([Invalid(ROW, "x", "malformed", "")])
    assert isinstance(again, Outcome)
    await kept.recorder.restore(again)
    kept.close()  # a kill: the line is in the journal only
    (tmp_path / "results.jsonl").unlink()
    kept = await taken_up(tmp_path)
    assert kept.recorder.due([ROW]) == [ROW]
    kept.close()


async def test_a_mending_that_was_cut_short_is_gone_on_with(tmp_path: Path) -> None:
    rows = [Row(number, number, "people.jsonl", {"email": "x"}) for number in range(1, 11)]
    kept = await taken_up(tmp_path)
    await kept.record(*(Outcome(row, "x", Status.INVALID, error="malformed") for row in rows))
    await kept.finish()
    (tmp_path / "failed.jsonl").unlink()
    kept = await taken_up(tmp_path)
    (again,) = kept.recorder.recalled([Invalid(rows[0], "x", "malformed", "")])
    assert isinstance(again, Outcome)
    await kept.recorder.restore(again)
    await kept.finish()
    kept = await taken_up(tmp_path)
    assert kept.recorder.due(rows) == rows[1:]
    kept.close()
