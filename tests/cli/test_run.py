"""`engager run` as its user sees it: exit codes, files, and an endpoint that bears witness."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import re
import shlex
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engager.sandbox.faults import FAULTS

FAST = "[retry]\nattempts = 8\nbase_delay = 0.01\nmax_delay = 0.05\n"


def statuses(bench: Any) -> Counter[str]:
    return Counter(line["status"] for line in bench.results())


async def test_every_row_is_engaged_once(bench: Any) -> None:
    b = await bench(600)
    ended = await b.engager("run", "job.toml")
    assert (ended.code, ended.err) == (0, "")
    assert "600 engaged" in ended.out
    assert sorted(line["row"] for line in b.results()) == list(range(1, 601))
    assert b.sandbox.brain.effects == Counter({f"email=p{n}@example.com": 1 for n in range(1, 601)})
    assert b.summary()["complete"] is True


async def test_a_complete_run_sends_nothing_when_it_is_run_again(bench: Any) -> None:
    b = await bench()
    await b.engager("run", "job.toml")
    again = await b.engager("run", "job.toml")
    assert again.code == 0
    assert b.sandbox.brain.effects.total() == 20 == len(b.sandbox.log)


async def test_a_run_directory_refuses_another_job_and_another_input(bench: Any) -> None:
    b = await bench()
    await b.engager("run", "job.toml")
    other_job = await b.engager("run", "job.toml", "--set", "request.id=13")
    assert (other_job.code, "request.id was 12" in other_job.err) == (2, True)
    b.write_input(9, "other.csv")
    named = await b.engager("run", "job.toml", "--input", "other.csv")
    assert str(b.path / "people.csv") in named.err
    assert str(b.path / "other.csv") in named.err
    (b.path / "people.csv").write_text((b.path / "people.csv").read_text().replace("p1@", "q1@"))
    other_input = await b.engager("run", "job.toml")
    assert (other_input.code, "people.csv" in other_input.err) == (2, True)
    assert len(b.sandbox.log) == 20


async def test_a_folder_of_another_user_is_not_changed(bench: Any) -> None:
    b = await bench()
    (b.path / "mine").mkdir()
    (b.path / "mine" / "results.jsonl").write_text("precious")
    ended = await b.engager("run", "job.toml", "--out", "mine")
    assert ended.code == 2
    assert [file.name for file in (b.path / "mine").iterdir()] == ["results.jsonl"]


async def test_rows_that_cannot_be_sent_are_reported_and_corrected(bench: Any) -> None:
    b = await bench()
    (b.path / "people.csv").write_text("email,name\na@x.org,Ann\nnot an address,Bob\nc@x.org\nd@x.org,D\n")
    ended = await b.engager("run", "job.toml")
    assert ended.code == 1
    assert statuses(b) == {"engaged": 2, "invalid": 2}
    for shown in (ended, await b.engager("status", "runs/test")):
        assert f"--input {b.path / 'runs/test/corrected.csv'}" in shown.out
    with (b.path / "runs/test/failed.csv").open(newline="") as file:
        failed = list(csv.DictReader(file))
    assert [(row["engager_row"], row["engager_line"], row["engager_error"]) for row in failed] == [
        ("2", "3", "malformed"),
        ("3", "4", "field_count"),
    ]
    for row, email in zip(failed, ("b@x.org", "c@x.org"), strict=True):
        row["email"] = email
    with (b.path / "mended.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, failed[0])
        writer.writeheader()
        writer.writerows(failed)
    again = await b.engager("run", "job.toml", "--input", "mended.csv", "--out", "runs/mended")
    assert again.code == 0
    assert b.sandbox.brain.effects == Counter({f"email={c}@x.org": 1 for c in "abcd"})


async def test_stdin(bench: Any) -> None:
    b = await bench(job='[output]\nresults = "csv"')
    data = b'{"email": "a@x.org", "name": "A"}\n{"email": "b@x.org", "name": "B"}\n'
    ended = await b.engager("run", "job.toml", "--input", "-", "--set", "input.format=jsonl", stdin=data)
    assert ended.code == 0, ended.err
    with (b.path / "runs/test/results.csv").open(newline="") as file:
        assert {row["key"] for row in csv.DictReader(file)} == {"a@x.org", "b@x.org"}


async def test_a_row_that_no_writer_takes_costs_no_other(bench: Any) -> None:
    deep = b'{"email": "b@x.org", "name": %b%b}\n' % (b"[" * 500, b"]" * 500)
    data = b'{"email": "a@x.org", "name": "A"}\n' + deep + b'{"email": "c@x.org", "name": "C"}\n'
    b = await bench()
    (b.path / "people.jsonl").write_bytes(data)
    checked = await b.engager("check", "job.toml", "--input", "people.jsonl", "--output", "json")
    assert [kind["error"] for kind in json.loads(checked.out)["invalid"]] == ["too_deep"]
    assert (await b.engager("run", "job.toml", "--input", "people.jsonl")).code == 1
    shown = {line["row"]: (line["status"], line["error"]) for line in b.results()}
    assert shown == {1: ("engaged", 0), 2: ("invalid", "too_deep"), 3: ("engaged", 0)}
    assert b.sandbox.brain.effects == Counter({"email=a@x.org": 1, "email=c@x.org": 1})
    failed = json.loads((b.path / "runs/test/failed.jsonl").read_bytes())
    assert (failed["engager_row"], failed["engager_line"]) == (2, 2)
    assert deep.startswith(failed["engager_raw"].encode()[:500])


async def test_half_a_surrogate_pair_in_a_file_costs_its_row_only(bench: Any) -> None:
    b = await bench()
    text = "email,name\na@x.org,A\nb@x.org,\ud800\nc@x.org,C\n"
    (b.path / "people.csv").write_bytes(text.encode("utf-7", "surrogatepass"))
    ended = await b.engager("run", "job.toml", "--set", "input.encoding=utf-7")
    assert ended.code == 1, ended.err
    assert [line["error"] for line in sorted(b.results(), key=lambda line: line["row"])] == [
        0,
        "bad_bytes",
        0,
    ]
    assert (b.path / "runs/test/failed.csv").read_bytes().decode("utf-7").count("\n") == 2


@pytest.mark.parametrize("encoding", ["idna", "punycode", "unicode_escape", "cp037", "undefined", "hex"])
async def test_an_encoding_that_is_none_of_files_is_refused_by_the_job(bench: Any, encoding: str) -> None:
    b = await bench()
    ended = await b.engager("check", "job.toml", "--set", f"input.encoding={encoding}")
    assert ended.code == 2
    assert "input.encoding" in ended.err
    assert encoding in ended.err


async def test_limits_that_are_found(bench: Any) -> None:
    limits = '[limits]\nconcurrency = "auto"\nmax_concurrency = 32\nrate = "auto"\nmax_rate = 2000\n'
    b = await bench(100, limits, latency="2ms")
    ended = await b.engager("run", "job.toml")
    assert ended.code == 0, ended.err
    assert len(b.sandbox.log) == 100


async def test_the_first_rows_only(bench: Any) -> None:
    b = await bench(500)
    await b.engager("run", "job.toml", "--limit", "7")
    assert sorted(line["row"] for line in b.results()) == list(range(1, 8))
    assert len(b.sandbox.log) == 7


@pytest.mark.parametrize(
    ("job", "args", "fact"),
    [
        ("[limits]\nrat = 5", [], "job.toml:13: limits.rat: unknown key; did you mean 'rate'?"),
        ("[limits]\nrate = -1", [], "job.toml:13: limits.rate"),
        (
            '[limits]\nconcurrency = "many"',
            [],
            "job.toml:13: limits.concurrency",
        ),
        ("[limits]\nrate = true", [], "job.toml:13: limits.rate"),
        ("[limits]\nrate = 5\nmax_rate = 9", [], "job.toml:14: limits.max_rate"),
        ("[limit]\nrate = 1", [], "job.toml:12: limit: unknown key; did you mean 'limits'?"),
        ("", ["--set", "request.email={mail}"], "--set request.email: the input has no column 'mail'"),
        ("", ["--set", 'request.phone="+79000000000"'], None),
        ("", ["--set", "request.email=nobody"], "request.email"),
        ("", ["--set", "endpoint.token=abc"], "endpoint.token"),
        ("", ["--set", "endpoint.token=env:NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"),
        ("", ["--set", "endpoint.url=ftp://x"], "https://HOST"),
        ("", ["--set", "retry.max_delay=soon"], "15m"),
        ("", ["--input", "no-such.csv"], "no-such.csv"),
        ("= broken", [], "job.toml"),
    ],
)
async def test_a_wrong_job_ends_before_anything_is_sent(
    bench: Any, job: str, args: list[str], fact: str | None
) -> None:
    b = await bench(job=job)
    ended = await b.engager("run", "job.toml", *args)
    assert "Traceback" not in ended.err
    if fact is None:
        assert "warning" in ended.err
        return
    assert ended.code == 2
    assert fact in ended.err
    assert b.sandbox.log == []
    assert not (b.path / "runs").exists()


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("name", ["empty.csv", "blank.csv", "header.csv", "empty.jsonl", "empty.csv.gz", "-"])
async def test_an_input_without_rows_is_what_the_job_says(bench: Any, name: str, command: str) -> None:
    b = await bench()
    data = {"blank.csv": b"\n\n", "header.csv": b"email,name\n", "empty.csv.gz": gzip.compress(b"")}
    (b.path / name).write_bytes(data.get(name, b"")) if name != "-" else None
    call = (command, "job.toml", "--input", name, *(("--set", "input.format=csv") if name == "-" else ()))
    stdin = b"" if name == "-" else None
    refused = await b.engager(*call, stdin=stdin)
    assert refused.code == 2
    assert "input.on_empty" in refused.err
    assert not (b.path / "runs").exists()
    ended = await b.engager(*call, "--set", "input.on_empty=ok", stdin=stdin)
    assert ended.code == 0, ended.err
    if command == "run":
        assert (b.summary()["rows"], b.summary()["complete"], b.sandbox.log) == (0, True, [])
        assert "requests" not in ended.out


async def test_an_export_that_comes_after_its_empty_one_is_sent(bench: Any) -> None:
    b = await bench()
    (b.path / "people.csv").write_text("")
    assert (await b.engager("run", "job.toml", "--set", "input.on_empty=ok")).code == 0
    b.write_input(5)
    assert (await b.engager("run", "job.toml")).code == 0
    assert len(b.results()) == len(b.sandbox.log) == 5


async def test_an_input_that_breaks_off_stops_the_run(bench: Any) -> None:
    b = await bench()
    data = "email,name\n" + "".join(f"p{n}@example.com,N{n}\n" for n in range(5_000))
    (b.path / "people.csv.gz").write_bytes(gzip.compress(data.encode())[:-5_000])
    ended = await b.engager("run", "job.toml", "--input", "people.csv.gz")
    assert ended.code == 3
    assert "people.csv.gz" in ended.err
    rows = [line["row"] for line in b.results()]
    assert len(rows) == len(set(rows)) == b.sandbox.brain.effects.total()


@pytest.mark.parametrize(
    ("settings", "code", "fact"),
    [
        ({"tokens": ["another"]}, 401, "token"),
        ({"powerless_tokens": ["t0ken-that-nobody-may-see"]}, 403, "rights"),
        ({"tariff_limit": 5}, 402, "tariff"),
    ],
)
async def test_an_endpoint_that_refuses_everything_stops_the_run(
    bench: Any, settings: dict[str, Any], code: int, fact: str
) -> None:
    b = await bench(2000, "[limits]\nconcurrency = 4", **settings)
    ended = await b.engager("run", "job.toml")
    assert ended.code == 3
    assert fact in ended.err
    assert "engager run job.toml" in ended.err
    assert len(b.sandbox.log) < 20
    assert statuses(b).keys() <= {"engaged"}
    assert b.summary()["complete"] is False


async def test_scenario_and_profile_errors_are_the_rows(bench: Any) -> None:
    b = await bench(profiles=[{"email": "p1@example.com"}, {"email": "p2@example.com"}])
    ended = await b.engager("run", "job.toml")
    assert ended.code == 1
    assert statuses(b) == {"engaged": 2, "rejected": 18}
    assert {line["error"] for line in b.results()} == {0, 400}


SHARES = dict.fromkeys(FAULTS, 0.025)


@pytest.mark.parametrize(
    ("mode", "language"),
    [("exactly-once", "json"), ("exactly-once", "xml"), ("at-most-once", "xml"), ("at-least-once", "json")],
)
async def test_whatever_goes_wrong_no_claim_is_false(bench: Any, mode: str, language: str) -> None:
    """The endpoint's own account is the truth that the results are held against."""
    job = f'{FAST}[delivery]\nmode = "{mode}"\n[limits]\nconcurrency = 32\n'
    b = await bench(250, job, faults=SHARES, seed=7)
    b.write_job(job, timeout=0.5, format=language)
    ended = await b.engager("run", "job.toml")
    assert ended.code in (0, 1), ended.err
    lines = b.results()
    assert sorted(line["row"] for line in lines) == list(range(1, 251))
    assert sum(b.summary()["statuses"].values()) == 250
    effects = b.sandbox.brain.effects
    for line in lines:
        happened = effects[f"email={line['key']}"]
        assert happened <= 1
        if line["status"] == "engaged":
            assert happened == 1
        if line["status"] in ("rejected", "failed"):
            assert happened == 0
    if mode == "exactly-once":
        assert statuses(b)["engaged"] >= 248
    if mode == "at-most-once":
        assert statuses(b)["in_doubt"] > 0


async def test_an_endpoint_without_deduplication_is_messaged_once_at_most(bench: Any) -> None:
    job = f'{FAST}[delivery]\nmode = "at-most-once"\n'
    b = await bench(300, job, faults={"reset_after": 0.3, "503": 0.2}, assumptions={"deduplicate": False})
    await b.engager("run", "job.toml")
    assert max(b.sandbox.brain.effects.values()) == 1
    assert statuses(b)["in_doubt"] > 50


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_the_first_signal_finishes_what_is_in_flight(bench: Any, number: int, code: int) -> None:
    b = await bench(5000, "[limits]\nconcurrency = 8\n", latency="50ms")
    process = await b.start("run", "job.toml")
    while len(b.sandbox.log) < 40:
        await asyncio.sleep(0.02)
    process.send_signal(number)
    _, err = await process.communicate()
    assert process.returncode == code
    assert "interrupted by" in err.decode()
    assert len(b.results()) == b.sandbox.brain.effects.total() < 5000
    assert statuses(b).keys() == {"engaged"}
    assert b.summary()["complete"] is False


async def test_the_second_signal_stops_at_once(bench: Any) -> None:
    b = await bench(50, "[limits]\nconcurrency = 8\n", latency="60s")
    process = await b.start("run", "job.toml")
    assert process.stderr is not None
    # The requests wait in the sandbox's latency, where its log does not show them yet.
    while not b.sandbox._in_flight.total():
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert b.summary()["complete"] is False


async def test_the_token_shows_nowhere(bench: Any) -> None:
    token = "t0ken-that-nobody-may-see"
    b = await bench(60, FAST, faults={"500": 0.2, "garbage": 0.2, "reset_after": 0.1})
    b.write_job(FAST, timeout=0.5, auth="bearer")
    ended = [
        await b.engager("run", "job.toml", "--log-format", "json"),
        await b.engager("check", "job.toml"),
        await b.engager("run", "job.toml", "--out", "runs/other", "--set", "input.encoding=nonsense"),
    ]
    assert {end.code for end in ended} <= {0, 1, 2}
    text = "".join(end.out + end.err for end in ended)
    files = [file for file in b.path.rglob("*") if file.is_file()]
    assert token not in text
    assert all(token.encode() not in file.read_bytes() for file in files)


async def test_a_crash_keeps_its_traceback_and_loses_the_token(bench: Any, tmp_path: Path) -> None:
    b = await bench()
    (tmp_path / "sitecustomize.py").write_text(
        "import engager.endpoint.access\n"
        "def crash(*args):\n"
        "    raise RuntimeError('fault near ' + engager.endpoint.access.Secret._all[-1].reveal())\n"
        "engager.endpoint.access.headers_of = crash\n"
    )
    process = await asyncio.create_subprocess_exec(
        "env",
        f"PYTHONPATH={tmp_path}:{Path(__file__).parents[2]}",
        "ENGAGER_TEST_TOKEN=t0ken-that-nobody-may-see",
        *(__import__("sys").executable, "-c", "from engager.cli import main; main()", "run", "job.toml"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 4
    assert b"Traceback" in err
    assert b"fault near ***" in err
    assert b"nobody-may-see" not in err
    assert b.sandbox.log == []


async def test_check_sends_nothing_and_shows_what_would_be_sent(bench: Any) -> None:
    b = await bench()
    (b.path / "people.csv").write_text("email,name\na@x.org,Ann\nnot an address,Bob\nc@x.org,C\n")
    ended = await b.engager("check", "job.toml", "--samples", "1")
    assert ended.code == 1
    assert re.search("3 rows: 2 .*, 1 .*invalid", ended.out)
    assert '{"token":"***","id":12,"email":"a@x.org","content":{"name":"Ann"}}' in ended.out
    assert "people.csv, line 3" in ended.out
    assert b.sandbox.log == []
    assert not (b.path / "runs").exists()


async def test_quiet_is_quiet(bench: Any) -> None:
    b = await bench()
    for _ in range(2):
        ended = await b.engager("run", "job.toml", "--quiet")
        assert (ended.code, ended.out, ended.err) == (0, "", "")


async def test_the_sandbox_command(bench: Any) -> None:
    b = await bench()
    process = await b.start("sandbox", "--port", "0", "--fault", "503=0.2", "--log", "seen.jsonl")
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().split()[-1]
    b.write_job(FAST, url=url)
    ended = await b.engager("run", "job.toml")
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert (ended.code, process.returncode) == (0, 0)
    assert (b.path / "seen.jsonl").read_text().count('"effect":true') == 20


async def test_a_program_reads_the_course_of_a_run_as_json(bench: Any) -> None:
    b = await bench(20)
    ended = await b.engager(
        "run", "job.toml", "--log-format", "json", "--page", "127.0.0.1:0", "--limit", "9"
    )
    lines = [json.loads(line) for line in ended.err.splitlines()]
    assert [line["event"] for line in lines] == ["began", "serving", "ended", "reported"]
    assert (lines[2]["summary"]["rows"], lines[2]["directory"]) == (9, "runs/test")
    assert "key=" not in ended.err


async def test_a_profile_is_shown_and_not_changed_without_words(bench: Any) -> None:
    b = await bench(20, "[profiles.slow.limits]\nconcurrency = 2\n[profiles.stage.request]\nid = 13\n")
    checked = await b.engager("check", "job.toml", "--profile", "stage")
    assert (checked.code, "profile stage" in checked.out, '"id":13' in checked.out) == (0, True, True)
    first = await b.engager("run", "job.toml", "--profile", "slow", "--limit", "5")
    assert first.code == 0
    assert "profile slow" in first.err
    known = json.loads((await b.engager("status", "runs/test", "--output", "json")).out)
    assert shlex.split(known["resume_command"])[3:5] == ["--profile", "slow"]
    assert (await b.engager("run", "job.toml", "--profile", "stage")).code == 2
    assert len(b.sandbox.log) == 5
    changed = await b.engager("run", "job.toml")
    assert changed.code == 0
    assert re.search("^warning: .*slow", changed.err, re.MULTILINE)
    assert len(b.sandbox.log) == 20


async def test_another_pass_leads_to_another_scenario_only_by_its_profile(bench: Any) -> None:
    b = await bench(5, "[profiles.stage.request]\nid = 13\n[retry]\nattempts = 1\n")
    assert (await b.engager("run", "job.toml", "--profile", "stage")).code == 0
    refused = await b.engager("retry", "runs/test")
    assert refused.code == 2
    command = shlex.split(refused.err.splitlines()[-1])
    assert command == ["engager", "retry", "runs/test", "--profile", "stage"]
    assert (await b.engager(*command[1:])).code == 0


@pytest.mark.parametrize("command", ["run", "check", "doctor", "scenarios"])
async def test_every_command_of_a_job_takes_a_profile(bench: Any, command: str) -> None:
    b = await bench()
    named = (command, "list", "job.toml") if command == "scenarios" else (command, "job.toml")
    ended = await b.engager(*named, "--profile", "none")
    assert ended.code == 2
    assert "'none'" in ended.err
