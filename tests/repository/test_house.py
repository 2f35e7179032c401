"""The house stays as it was drawn: the page is a page, the manual is true, each file says what it is for."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from engager.altcraft.parameters import PARAMETERS
from engager.cli import main
from engager.config.job import JobFile
from engager.config.job_sections import Job
from engager.config.positions import locate
from engager.models import Unreadable
from engager.run.dry_run import Findings, SampleRequest
from engager.sandbox.faults import FAULTS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_whole_way_fits_on_one_page() -> None:
    assert len((ROOT / "engager/run/pipeline.py").read_text().splitlines()) <= 150


@pytest.mark.parametrize("file", sorted((ROOT / "engager").rglob("*.py")), ids=lambda file: file.name)
def test_every_file_says_what_it_is_for(file: Path) -> None:
    assert file.read_text().startswith('"""')


def test_the_manual_has_every_key_and_no_other() -> None:
    manual = README[README.index("## The job file") : README.index("### [request]")]
    told = set(re.findall(r"^\| `(\w+\.\w+)` \|", manual, re.MULTILINE))
    fields = {
        f"{section}.{name}"
        for section, field in Job.model_fields.items()
        if section not in ("request", "sandbox")
        for name in field.annotation.model_fields  # type: ignore[union-attr]
    }
    assert told == fields


def test_the_manual_has_every_command_and_no_other() -> None:
    told = re.findall(r"^\| `engager (\w+)[^`]*` \|", README, re.MULTILINE)
    assert sorted(told) == sorted(main.commands)


def test_the_manual_has_every_field_that_check_tells_and_no_other() -> None:
    section = README[README.index("**`engager check JOB`**") : README.index("**`engager schema`**")]
    rows = dict(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*) \|$", section, re.MULTILINE))
    assert re.findall(r"`(\w+)`", " ".join(rows)) == list(Findings().as_dict())
    assert re.findall(r"`(\w+)`", rows["`samples`"]) == [
        field.name for field in dataclasses.fields(SampleRequest)
    ]
    findings = Findings()
    findings.note(Unreadable(1, 2, "people.csv", "bad_quotes", "told", "raw"))
    assert re.findall(r"`(\w+)`", rows["`invalid`"]) == list(findings.as_dict()["invalid"][0])


def test_the_manual_names_every_parameter_and_every_fault() -> None:
    for name in (*PARAMETERS, *FAULTS):
        if name not in ("subscription_id", "provider"):
            assert f"`{name}`" in README


def test_the_first_two_commands_are_one_line_each() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    assert all(block.count("\n") == 1 for block in blocks)


@pytest.mark.parametrize("text", re.findall(r"^ *```toml\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL))
def test_examples_of_the_manual_are_toml(text: str) -> None:
    assert tomllib.loads(text)


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.toml")), ids=lambda file: file.name)
def test_every_example_is_a_job(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert JobFile(file).job.job.name


@pytest.mark.parametrize(
    ("key", "line"), [("a.b", 2), ("a.c", 6), ("a.b.d", 2), ("t", 8), ("t.x", 9), ("t.u.y", 11), ("no", None)]
)
def test_where_a_key_stands(key: str, line: int | None) -> None:
    text = '[a]\nb = """\nc = 1\n[t]\n"""\nc = 2\n\n[ t ]\nx = 1\n[t."u"]\ny = 2\n'
    assert locate(text, key) == line
