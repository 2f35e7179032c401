"""`engager test` as its user sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest

ME = "me@example.com"


@pytest.mark.parametrize(("profiles", "code", "status"), [([ME], 0, "engaged"), ([], 1, "rejected")])
async def test_the_request_of_a_row_goes_to_its_user(
    bench: Any, profiles: list[str], code: int, status: str
) -> None:
    b = await bench(3, profiles=[{"email": address} for address in (*profiles, "p1@example.com")])
    ended = await b.engager("test", "job.toml", "--to", ME, "--yes")
    assert (ended.code, ended.err) == (code, "")
    for fact in (ME, status, b.sandbox.url, "scenario 12", '"error_text"'):
        assert fact in ended.out
    asked = await b.engager("test", "job.toml", "--to", ME, "--row", "2", "--yes", "--output", "json")
    document = json.loads(asked.out)
    assert (asked.code, document["row"], document["to"], document["status"]) == (
        code,
        2,
        {"email": ME},
        status,
    )
    assert {*b.sandbox.brain.effects} == {f"email={address}" for address in profiles}
    assert not (b.path / "runs").exists()
    assert (await b.engager("run", "job.toml", "--limit", "1")).code == 0


async def test_without_a_terminal_nothing_is_sent_without_yes(bench: Any) -> None:
    b = await bench(3)
    ended = await b.engager("test", "job.toml", "--to", ME)
    assert (ended.code, ended.out, b.sandbox.log) == (2, "", [])
    for fact in ("--yes", ME, b.sandbox.url, "12"):
        assert fact in ended.err


@pytest.mark.parametrize(
    ("args", "fact"),
    [
        ((), "--to"),
        (("--to", "nobody"), "--to nobody"),
        (("--to", ME, "--row", "0"), "--row"),
        (("--to", ME, "--row", "9"), "row 9"),
    ],
)
async def test_a_wrong_call_is_refused(bench: Any, args: tuple[str, ...], fact: str) -> None:
    b = await bench(3)
    ended = await b.engager("test", "job.toml", *args, "--yes")
    assert (ended.code, ended.out, b.sandbox.log) == (2, "", [])
    assert fact in ended.err
    assert "Traceback" not in ended.err


async def test_the_first_row_that_a_list_does_not_skip_is_taken(bench: Any) -> None:
    b = await bench(3)
    (b.path / "gone.txt").write_text("p1@example.com\n")
    lists = ("--set", "input.exclude=gone.txt", "--yes", "--output", "json")
    taken = await b.engager("test", "job.toml", "--to", ME, *lists)
    assert json.loads(taken.out)["row"] == 2
