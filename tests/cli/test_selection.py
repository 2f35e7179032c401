"""Rows that are left out, in the account, and after an interruption."""

from __future__ import annotations

import asyncio
import codecs
import json
import re
import shlex
import shutil
from collections import Counter
from typing import Any

import pytest

UNIQUE = "unique = true"


async def make(bench: Any, rules: str, limits: str = "", **settings: Any) -> Any:
    b = await bench(1, limits, **settings)
    rows = [f"p{n % 300}@example.com,Name {n}\n" for n in range(900)]
    (b.path / "people.csv").write_text("email,name\n" + "".join(rows))
    job = (b.path / "job.toml").read_text()
    (b.path / "job.toml").write_text(job.replace("[request]", f"{rules}\n[request]"))
    return b


def accounted(b: Any) -> Counter[tuple[str, Any]]:
    assert sorted(line["row"] for line in b.results()) == list(range(1, 901))
    return Counter((line["status"], line["error"]) for line in b.results())


async def test_each_key_is_engaged_once_and_every_row_has_its_line(bench: Any) -> None:
    b = await make(bench, UNIQUE)
    ended = await b.engager("run", "job.toml")
    assert (ended.code, ended.err) == (0, "")
    assert accounted(b) == {("engaged", 0): 300, ("skipped", "repeat"): 600}
    assert b.sandbox.brain.effects == Counter({f"email=p{n}@example.com": 1 for n in range(300)})
    assert not (b.path / "runs/test/failed.csv").exists()
    repeat = next(line for line in b.results() if line["row"] == 900)
    assert (repeat["key"], repeat["attempts"], repeat["error_text"]) == (
        "p299@example.com",
        0,
        "row 300 has the same key",
    )


async def test_listed_keys_are_not_sent_to(bench: Any) -> None:
    b = await make(bench, 'exclude = "gone.txt"')
    (b.path / "gone.txt").write_text("P7@example.com\nnobody@example.com\n")
    assert (await b.engager("run", "job.toml")).code == 0
    assert accounted(b) == {("engaged", 0): 897, ("skipped", "excluded"): 3}
    assert b.sandbox.brain.effects["email=p7@example.com"] == 0


async def test_a_check_adds_up_the_rows_that_are_skipped(bench: Any) -> None:
    b = await make(bench, 'exclude = "gone.txt"\nunique = true')
    (b.path / "gone.txt").write_text("p7@example.com\n")
    checked = await b.engager("check", "job.toml")
    counts = {
        rule: int(rows) for rows, rule in re.findall(r"(\d+) (excluded|repeat|are skipped)", checked.out)
    }
    assert counts["are skipped"] == counts["excluded"] + counts["repeat"] == 601
    assert "input.unique" not in checked.out


async def test_a_run_says_at_its_start_how_many_keys_its_lists_have(bench: Any) -> None:
    b = await make(bench, 'unique = false\nexclude = ["gone.txt", "none.csv"]')
    (b.path / "gone.txt").write_text("p7@example.com\n")
    (b.path / "none.csv").write_text("email\n")
    ended = await b.engager("run", "job.toml")
    reported = [(line.split(":")[0] == "warning", line.split("/")[-1]) for line in ended.err.splitlines()]
    assert [(warns, name.split(":")[0]) for warns, name in reported] == [
        (True, "none.csv"),
        (False, "gone.txt"),
    ]
    assert "1 keys" in reported[1][1]


@pytest.mark.parametrize("rules", ["", 'exclude = "gone.txt"'])
async def test_a_job_that_is_silent_on_repeats_is_warned_of_the_first(bench: Any, rules: str) -> None:
    b = await make(bench, rules)
    (b.path / "gone.txt").write_text("p0@example.com\n")
    ended = await b.engager("run", "job.toml")
    said = re.findall(r"row (\d+) has the same key as row (\d+)", ended.err)
    assert [int(row) - int(first) for row, first in said] == [300]
    assert re.search(r"WARNING.*row \d+ .*row \d+", (b.path / "runs/test/engager.log").read_text())


async def test_a_job_that_means_its_repeats_is_not_warned(bench: Any) -> None:
    b = await make(bench, "unique = false")
    assert (await b.engager("run", "job.toml")).err == ""


async def test_a_run_that_was_cut_off_decides_as_it_would_have(bench: Any) -> None:
    b = await make(bench, UNIQUE, "[limits]\nconcurrency = 8\n")
    for limit in ("100", "350", "620"):
        await b.engager("run", "job.toml", "--limit", limit)
    killed = await b.start("run", "job.toml", "--set", "limits.rate=100")
    while len(b.sandbox.log) < 300 and killed.returncode is None and len(b.results()) < 700:
        await asyncio.sleep(0.02)
    if killed.returncode is None:
        killed.kill()
    await killed.communicate()
    assert (await b.engager("run", "job.toml")).code == 0
    assert accounted(b) == {("engaged", 0): 300, ("skipped", "repeat"): 600}
    assert set(b.sandbox.brain.effects.values()) == {1}


async def test_rows_that_failed_are_tried_again_and_are_no_repeats_of_themselves(bench: Any) -> None:
    b = await make(bench, UNIQUE, "[retry]\nattempts = 1\n", faults={"503": 0.3})
    assert (await b.engager("run", "job.toml")).code == 1
    assert accounted(b)["skipped", "repeat"] == 600
    assert 30 < sum(line["status"] == "failed" for line in b.results()) < 270
    assert (await b.engager("retry", "runs/test", "--no-progress")).code == 1
    while (await b.engager("retry", "runs/test")).code:
        assert accounted(b)["skipped", "repeat"] == 600
    assert accounted(b) == {("engaged", 0): 300, ("skipped", "repeat"): 600}
    assert set(b.sandbox.brain.effects.values()) == {1}


async def test_a_list_that_only_grew_is_taken_up(bench: Any) -> None:
    b = await make(bench, 'exclude = "gone.txt"')
    (b.path / "gone.txt").write_text("p7@example.com\n")
    await b.engager("run", "job.toml", "--limit", "5")
    (b.path / "gone.txt").write_text("p100@example.com\nP7@example.com\np200@example.com\n")
    assert (await b.engager("run", "job.toml")).code == 0
    assert accounted(b)["skipped", "excluded"] == 9
    assert {b.sandbox.brain.effects[f"email=p{n}@example.com"] for n in (7, 100, 200)} == {0}


@pytest.mark.parametrize("left", ["p9@example.com\n", ""])
async def test_a_list_that_lost_a_key_is_refused_with_the_people_at_risk(bench: Any, left: str) -> None:
    b = await make(bench, 'unique = true\nexclude = "gone.txt"')
    (b.path / "gone.txt").write_text("p7@example.com\np8@example.com\n")
    await b.engager("run", "job.toml", "--limit", "5")
    (b.path / "gone.txt").write_text(left)
    ended = await b.engager("run", "job.toml")
    assert (ended.code, "2 keys" in ended.err, "5 people" in ended.err) == (2, True, True)
    await b.engager(*shlex.split(ended.err.splitlines()[-1])[1:])
    assert {b.sandbox.brain.effects[f"email=p{n}@example.com"] for n in range(6)} == {1}


async def test_a_run_after_another_skips_the_people_that_it_reached(bench: Any) -> None:
    b = await make(bench, "unique = true")
    await b.engager("run", "job.toml", "--limit", "100")
    await b.engager("run", "job.toml", "--out", "second", "--after", "runs/test", "--limit", "150")
    assert Counter(line["error"] for line in b.results("second")) == {"earlier_run": 100, 0: 50}
    # Whom the first run reached, the second one left out: neither gets a message from a third.
    ended = await b.engager("run", "job.toml", "--out", "third", "--after", "second")
    assert ended.code == 0, ended.err
    assert set(b.sandbox.brain.effects.values()) == {1}
    assert len(b.sandbox.brain.effects) == 300
    again = await b.engager("run", "job.toml", "--out", "third")
    assert (again.code, len(b.sandbox.brain.effects)) == (0, 300)


async def corrected_twice(b: Any) -> Any:
    """A chain of two runs, whose second one did not have Ann, and a third input that has her."""
    (b.path / "people.csv").write_text("email,name\nann@x.org,Ann\nnobody,Bob\n")
    await b.engager("run", "job.toml")
    (b.path / "corrected.csv").write_text("email,name\nbob@x.org,Bob\nnobody,Cid\n")
    second = ("run", "job.toml", "--input", "corrected.csv", "--out", "runs/second", "--after", "runs/test")
    assert (await b.engager(*second)).code == 1
    (b.path / "corrected.csv").write_text("email,name\nann@x.org,Ann\ncid@x.org,Cid\n")
    return second


async def test_a_printed_command_leaves_out_the_people_of_every_run_before(bench: Any) -> None:
    b = await bench()
    refused = await b.engager(*await corrected_twice(b))
    printed = shlex.split(refused.err.splitlines()[-1])
    assert refused.code == 2
    assert [str(b.path / "runs/test"), str(b.path / "runs/second")] == [
        str(b.path / printed[at + 1]) for at, part in enumerate(printed) if part == "--after"
    ]
    assert (await b.engager(*printed[1:])).code == 0
    assert Counter(b.sandbox.brain.effects) == {f"email={name}@x.org": 1 for name in ("ann", "bob", "cid")}


async def test_a_run_is_after_those_that_its_earlier_run_was_after(bench: Any) -> None:
    b = await bench()
    await corrected_twice(b)
    third = ("run", "job.toml", "--input", "corrected.csv", "--out", "runs/third", "--after", "runs/second")
    assert (await b.engager(*third)).code == 0
    assert [(line["key"], line["error"]) for line in b.results("runs/third")] == [
        ("ann@x.org", "earlier_run"),
        ("cid@x.org", 0),
    ]
    # A run may be resumed after one that was after it.
    (b.path / "people.csv").write_text("email,name\nann@x.org,Ann\nnobody,Bob\ndan@x.org,Dan\n")
    assert (await b.engager("run", "job.toml", "--after", "runs/third")).code == 1
    assert set(b.sandbox.brain.effects.values()) == {1}
    shutil.rmtree(b.path / "runs/test")
    fourth = await b.engager(*third[:5], "runs/fourth", *third[6:])
    assert f"warning: {b.path / 'runs/test'}" in fourth.err
    assert b.sandbox.brain.effects["email=bob@x.org"] == 1


async def test_a_run_directory_may_be_a_list(bench: Any) -> None:
    b = await make(bench, 'unique = true\nexclude = ["runs/first", "gone.txt"]')
    (b.path / "gone.txt").write_text("p250@example.com\n")
    await b.engager(
        "run", "job.toml", "--out", "runs/first", "--set", "input.exclude=gone.txt", "--limit", "100"
    )
    assert (await b.engager("run", "job.toml")).code == 0
    assert Counter(line["error"] for line in b.results()) == {
        "earlier_run": 300,
        "excluded": 3,
        "repeat": 398,
        0: 199,
    }
    assert set(b.sandbox.brain.effects.values()) == {1}


async def test_rows_in_flight_at_a_kill_count_as_reached(bench: Any) -> None:
    b = await make(bench, "unique = true", "[limits]\nconcurrency = 8\n", latency="50ms")
    process = await b.start("run", "job.toml")
    while len(b.sandbox.log) < 40:
        await asyncio.sleep(0.01)
    process.kill()
    await process.communicate()
    ended = await b.engager("run", "job.toml", "--out", "second", "--after", "runs/test")
    assert ended.code == 0, ended.err
    reached = {key.removeprefix("email="): times for key, times in b.sandbox.brain.effects.items()}
    assert set(reached.values()) == {1}
    # A request that was stored as in flight, and that the kill kept from leaving, counts as reached, too.
    unreached = {f"p{number}@example.com" for number in range(300)} - set(reached)
    assert len(unreached) <= 8
    assert unreached <= {line["key"] for line in b.results("second") if line["status"] == "skipped"}


async def test_rows_of_a_run_that_are_fed_again_are_warned_of(bench: Any) -> None:
    b = await make(bench, "unique = false")
    (b.path / "people.csv").write_text("email,name\na@example.com,A\nnobody,B\n")
    await b.engager("run", "job.toml")
    failed = ("--input", "runs/test/failed.csv", "--out", "second")
    warned = await b.engager("run", "job.toml", *failed)
    assert "--after" in warned.err
    assert "runs/test" in warned.err
    assert (
        "--after"
        not in (await b.engager("run", "job.toml", *failed[:3], "third", "--after", "runs/test")).err
    )


async def test_a_row_with_bad_bytes_is_corrected_in_the_file_that_has_its_bytes(bench: Any) -> None:
    b = await bench()
    name = "Jörg".encode("latin-1")
    data = codecs.BOM_UTF8 + b"email,name\na@x.org,Ann\nb@x.org," + name + b"\n"
    (b.path / "people.csv").write_bytes(data)
    assert (await b.engager("run", "job.toml")).code == 1
    failed = (b.path / "runs/test/failed.csv").read_bytes()
    assert failed.startswith(codecs.BOM_UTF8 + b"email,name,")
    assert b"b@x.org," + name in failed
    (b.path / "corrected.csv").write_bytes(failed.replace(b"\n,,", "\nb@x.org,Jörg,".encode()))
    again = ("--input", "corrected.csv", "--out", "runs/again", "--after", "runs/test")
    ended = await b.engager("run", "job.toml", *again)
    assert (ended.code, len(b.sandbox.log)) == (0, 2), ended.err


@pytest.mark.parametrize(
    ("phones", "rules", "is_warned"),
    [
        (["+79160000001", "89160000002", "9160000003"], "", True),
        (["79160000001", "9160000003"], "", True),
        (["+493012345678", "03012345678"], "", True),
        (["+79160000001", "79160000002", "+493012345678"], "", False),
        (["89160000001", "89160000002"], "", False),
        (["+79160000001", "89160000002", "9160000003"], 'region = "RU"', False),
    ],
)
async def test_a_column_that_mixes_the_forms_of_telephones_is_warned_of(
    bench: Any, phones: list[str], rules: str, is_warned: bool
) -> None:
    b = await bench()
    b.write_job()
    text = (b.path / "job.toml").read_text()
    text = text.replace('email = "{email}"', 'matching = "phone"\nphone = "{phone}"')
    (b.path / "job.toml").write_text(text.replace('path = "people.csv"', f'path = "people.csv"\n{rules}'))
    (b.path / "people.csv").write_text("phone,name\n" + "".join(f"{phone},N\n" for phone in phones))
    for command in ("check", "run"):
        ended = await b.engager(command, "job.toml")
        assert (ended.code, "input.region" in ended.err) == (0, is_warned), ended.err


@pytest.mark.parametrize("matching", ["phone", "email_phone"])
@pytest.mark.parametrize(
    ("phones", "listed", "rules", "is_warned", "engaged"),
    [
        (["+79160000001", "+79160000002"], "89160000001", "", True, 2),
        (["+79160000001", "+79160000002"], "89160000001", 'region = "RU"', False, 1),
        (["+79160000001", "+79160000002"], "79160000001", "", False, 1),
        (["+79160000001", "89160000002"], "+79160000003", "", True, 2),
    ],
)
async def test_a_list_that_has_another_form_of_telephones_is_warned_of(
    bench: Any, matching: str, phones: list[str], listed: str, rules: str, is_warned: bool, engaged: int
) -> None:
    b = await bench()
    b.write_job(further_matching=True)
    text = (b.path / "job.toml").read_text()
    text = text.replace("[request]", f'[request]\nmatching = "{matching}"\nphone = "{{phone}}"')
    text = text.replace('path = "people.csv"', f'path = "people.csv"\nexclude = "gone.txt"\n{rules}')
    (b.path / "job.toml").write_text(text)
    rows = [f"{phone},N,p{number}@example.com\n" for number, phone in enumerate(phones)]
    (b.path / "people.csv").write_text("phone,name,email\n" + "".join(rows))
    (b.path / "gone.txt").write_text(f"{listed}\n")
    for command in ("check", "run"):
        ended = await b.engager(command, "job.toml")
        assert (ended.code, "input.region" in ended.err) == (0, is_warned), ended.err
    assert len(b.sandbox.log) == engaged


async def test_a_list_is_of_no_use_to_a_query(bench: Any) -> None:
    b = await make(bench, 'exclude = "gone.txt"')
    (b.path / "gone.txt").write_text("p7@example.com\n")
    job = (
        (b.path / "job.toml")
        .read_text()
        .replace('email = "{email}"', 'custom_request = { mail = "{email}" }')
    )
    (b.path / "job.toml").write_text(job)
    ended = await b.engager("run", "job.toml")
    assert (ended.code, "input.exclude" in ended.err) == (2, True)
    assert b.sandbox.log == []


async def test_only_rows_with_a_wanted_value_are_sent(bench: Any) -> None:
    """Several columns must all match; what is filtered is no first row with its key, and never invalid."""
    b = await bench(1)
    table = [
        ("a@example.com", "no", "RU"),
        ("a@example.com", " yes ", "RU"),
        ("b@example.com", "yes", "FR"),
        ("c@example.com", "YES", "RU"),
        ("not an address", "", "RU"),
        ("d@example.com", "1", "KZ"),
        ("", "", ""),
    ]
    rows = "".join(f"{email},{consent},{country}\n" for email, consent, country in table)
    (b.path / "people.csv").write_text("email,consent,country\n" + rows)
    job = (b.path / "job.toml").read_text().replace("{name}", "x")
    rules = 'unique = true\nfilter = { consent = ["yes", 1], country = ["RU", "KZ"] }'
    (b.path / "job.toml").write_text(job.replace("[request]", f"{rules}\n[request]"))
    checked = await b.engager("check", "job.toml", "--output", "json")
    assert checked.code == 0
    found = json.loads(checked.out)
    assert (found["sendable"], found["skipped"]) == (2, {"filtered": 4, "blank": 1})
    assert (await b.engager("run", "job.toml", "--limit", "3")).code == 0
    assert (await b.engager("run", "job.toml")).code == 0
    errors = {line["row"]: line["error"] for line in b.results()}
    assert errors == {1: "filtered", 2: 0, 3: "filtered", 4: "filtered", 5: "filtered", 6: 0, 7: "blank"}
    assert {line["row"]: line["key"] for line in b.results()}[3] == "b@example.com"
    assert b.sandbox.brain.effects == Counter({"email=a@example.com": 1, "email=d@example.com": 1})


async def test_another_filter_is_another_run(bench: Any) -> None:
    b = await make(bench, 'filter = { name = ["Name 1", "Name 2"] }')
    assert (await b.engager("run", "job.toml", "--limit", "1")).code == 0
    changed = await b.engager("run", "job.toml", "--set", 'input.filter.name=["Name 3"]')
    assert (changed.code, b.sandbox.log) == (2, [])
    assert "input.filter" in changed.err
    assert (await b.engager("run", "job.toml")).code == 0
    assert accounted(b) == {("engaged", 0): 2, ("skipped", "filtered"): 898}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_a_filter_by_a_column_that_is_not_there_is_refused(bench: Any, form: str) -> None:
    """Otherwise it would leave everybody out, and end well."""
    b = await make(bench, 'filter = { consnt = ["yes"] }')
    if form == "jsonl":
        (b.path / "people.jsonl").write_text('{"email": "a@example.com", "name": "A", "consent": "yes"}\n')
    ended = await b.engager("run", "job.toml", "--input", f"people.{form}")
    assert (ended.code, b.sandbox.log) == (2, [])
    assert "consnt" in ended.err
