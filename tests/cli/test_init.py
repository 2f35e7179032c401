"""`engager init`, `check` and `schema` as their user sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engager.cli import main
from engager.config.job import JobFile

PEOPLE = "email;first name;бонус\na@x.org;Ann;5\nb@x.org;;\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALTCRAFT_TOKEN", "t0ken-that-nobody-may-see")
    (tmp_path / "spring people.csv").write_text(PEOPLE)
    return tmp_path


def engager(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def test_the_way_from_a_file_to_a_rehearsal(folder: Path) -> None:
    written = engager("init", "spring people.csv")
    assert (written.exit_code, written.stderr) == (0, "")
    assert "engager run spring-people.toml --out runs/spring-people-rehearsal" in written.stdout
    looked = engager("check", "spring-people.toml")
    assert looked.exit_code == 0
    assert "2 rows: 2 " in looked.stdout
    assert '"content":{"first name":"Ann","бонус":5}' in looked.stdout
    assert "request.id" in looked.stderr
    refused = engager("run", "spring-people.toml", "--set", "endpoint.url=https://altcraft.invalid")
    assert (refused.exit_code, "request.id" in refused.stderr) == (2, True)
    assert not (folder / "runs").exists()


def test_a_job_for_an_import_is_asked_for_by_its_method(folder: Path) -> None:
    written = engager("init", "spring people.csv", "--method", "import_and_start_batch")
    assert (written.exit_code, "request.workflow_id" in written.stdout) == (0, True)
    looked = engager("check", "spring-people.toml", "--set", "limits.rate=2")
    assert looked.exit_code == 0, looked.stderr
    assert '"data":[{"email":"a@x.org","data":{"email":"a@x.org","_fname":"Ann","бонус":5,' in looked.stdout
    assert "2 requests and 1,000 people" in looked.stdout
    assert engager("init", "spring people.csv", "--method", "import").exit_code == 2


async def test_the_rehearsal_reaches_the_sandbox_only(bench: Any) -> None:
    b = await bench()
    await b.engager("init", "people.csv")
    text = 'import os; os.environ["ALTCRAFT_TOKEN"] = "token"'
    ended = await b.engager("run", "people.toml", "--out", "runs/rehearsal", before=text)
    assert ended.code == 0, ended.err
    assert b.summary("runs/rehearsal")["statuses"]["engaged"] == 20
    assert b.sandbox.log == []


def test_a_job_that_is_there_is_not_overwritten(folder: Path) -> None:
    (folder / "mine.toml").write_text("precious")
    kept = engager("init", "spring people.csv", "--out", "mine.toml")
    assert (kept.exit_code, "--force" in kept.stderr) == (2, True)
    assert (folder / "mine.toml").read_text() == "precious"
    forced = engager("init", "spring people.csv", "--out", "mine.toml", "--force", "--name", "spring")
    assert forced.exit_code == 0
    assert JobFile(folder / "mine.toml").job.job.name == "spring"


def test_the_input_is_never_overwritten(folder: Path) -> None:
    refused = engager("init", "spring people.csv", "--out", "spring people.csv", "--force")
    assert (refused.exit_code, "--out" in refused.stderr) == (2, True)
    assert (folder / "spring people.csv").read_text() == PEOPLE


@pytest.mark.parametrize(
    ("args", "fact"),
    [
        (["-"], "--input -"),
        (["nobody.csv"], "nobody.csv"),
        (["."], "folder"),
        (["spring people.csv", "--name", "a b"], "--name a b"),
        (["spring people.csv", "--out", "no/such/folder.toml"], "folder.toml"),
    ],
)
def test_what_cannot_be_done_is_reported(folder: Path, args: list[str], fact: str) -> None:
    ended = engager("init", *args)
    assert ended.exit_code == 2
    assert fact in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(folder.glob("*.toml")) == []


@pytest.mark.parametrize(
    ("input_name", "name"),
    [
        ("a.csv.gz", "a"),
        ("клиенты.csv", "job"),
        ("клиенты 2026.csv", "2026"),
        ("-x-.CSV", "x"),
        ("*.csv", "job"),
    ],
)
def test_the_job_is_called_after_its_input(input_name: str, name: str) -> None:
    from engager.cli.init import _name

    assert _name(None, input_name) == name


def test_check_as_json_keeps_data_and_warnings_apart(folder: Path) -> None:
    engager("init", "spring people.csv")
    looked = engager("check", "spring-people.toml", "--output", "json", "--set", "limits.rate=10")
    found = json.loads(looked.stdout)
    assert (found["rows"], found["sendable"], found["seconds"]) == (2, 2, 0.2)
    assert looked.stderr.startswith("warning: ")


@pytest.mark.parametrize(
    ("overrides", "fact"),
    [
        (["limits.rate=0.5"], "takes 4 s"),
        ([], "limits.rate"),
        (["limits.rate=auto"], 'limits.rate is "auto"'),
    ],
)
def test_check_says_how_long_a_run_takes(folder: Path, overrides: list[str], fact: str) -> None:
    engager("init", "spring people.csv")
    args = [part for override in overrides for part in ("--set", override)]
    assert fact in engager("check", "spring-people.toml", *args).stdout


def test_the_schema_is_printed() -> None:
    assert json.loads(engager("schema").stdout)["$schema"].endswith("2020-12/schema")
