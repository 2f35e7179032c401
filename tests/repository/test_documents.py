"""The documents are true: every key, command, option, fault and link stands in its place."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest

from engager.altcraft.methods import METHODS, START
from engager.altcraft.parameters import FURTHER_PARAMETERS
from engager.altcraft.profile_data import CHANNELS, PART_MEANINGS
from engager.cli import main
from engager.config.job_sections import Job
from engager.config.sections import seconds_of
from engager.endpoint.doctor import CHECKS
from engager.endpoint.sender_checks import ALL, EACH
from engager.models import Unreadable
from engager.policies.adaptive import CEILING
from engager.run.dry_run import Findings, SampleRequest
from engager.sandbox.config import Assumptions, SandboxConfig
from engager.sandbox.faults import FAULTS, ITEM_FAULTS

ROOT = Path(__file__).parents[2]

#: Defaults of keys for which a job holds nothing: the code that reads them knows them.
STANDS_FOR_NONE = {"input.delimiter": ",", "limits.max_concurrency": CEILING}

#: Paths of no file here: methods of the endpoint, folders that commands make, names to be chosen.
ELSEWHERE = r"workflows/|tasks/|runs/|\.bench/|[\w/]*NAME"


def _documents() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [file for name in listed.stdout.splitlines() if (file := ROOT / name).exists()]


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


README, JOBS, SANDBOX = _text("README.md"), _text("configs/README.md"), _text("engager/sandbox/README.md")
DOCUMENTS = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in _documents()}


def _section(text: str, title: str) -> str:
    """What stands below a heading, down to the next one of its level."""
    level = title.split()[0]
    begin = text.index(f"{title}\n")
    end = re.search(rf"^#{{1,{len(level)}}} ", text[begin + len(title) :], re.MULTILINE)
    return text[begin : begin + len(title) + end.start()] if end else text[begin:]


def _table(text: str, title: str) -> list[list[str]]:
    """The rows of the tables below a heading, without their heads."""
    lines = [line for line in _section(text, title).splitlines() if line.startswith("|")]
    rules = [number for number, line in enumerate(lines) if re.fullmatch(r"[|:-]+", line)]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for number, line in enumerate(lines)
        if number not in rules and number + 1 not in rules
    ]


def _names(cell: str) -> list[str]:
    """What stands as code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def _blocks(language: str) -> list[Any]:
    fence = re.compile(rf"^ *```{language}\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    return [
        pytest.param(block, id=f"{name}-{number}")
        for name, text in DOCUMENTS.items()
        for number, block in enumerate(fence.findall(text))
    ]


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


COMMANDS = dict(_commands(main)) | {"": main}


def test_the_readme_is_read_in_a_minute() -> None:
    assert len(README.splitlines()) <= 250


def test_the_first_two_commands_are_one_line_each() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    assert all(block.count("\n") == 1 for block in blocks)


def test_the_readme_has_every_command_and_no_other() -> None:
    documented = [_names(row[0])[0].split()[1] for row in _table(README, "## Commands") if len(row) == 2]
    assert sorted(documented) == sorted(name for name in COMMANDS if name and " " not in name)


def test_the_readme_has_every_option_of_every_command_and_no_other() -> None:
    rows = [row for row in _table(README, "## Commands") if len(row) == 3]
    documented = {
        (name, option.split()[0])
        for options, commands, _ in rows
        for name in commands.split(", ")
        for option in _names(options)
    }
    known = {
        (path.split()[0], option)
        for path, command in COMMANDS.items()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
        if path not in ("", "sandbox")
    }
    assert documented == known


def _fields() -> dict[str, Any]:
    return {
        f"{section}.{name}": field
        for section, part in Job.model_fields.items()
        if section not in ("request", "sandbox", "profiles")
        for name, field in part.annotation.model_fields.items()  # type: ignore[union-attr]
    }


REFERENCE = {
    _names(key)[0]: default
    for key, default, _ in _table(JOBS, "## Reference of the job file")
    if not key.endswith(".*`")
}


def test_the_reference_has_every_key_and_no_other() -> None:
    assert set(REFERENCE) == set(_fields())


@pytest.mark.parametrize("key", [key for key, text in REFERENCE.items() if re.fullmatch("`[^`<]*`", text)])
def test_the_reference_has_every_default(key: str) -> None:
    """Each that stands there as it is written in a job; the others are sentences."""
    documented = tomllib.loads(f"value = {REFERENCE[key].strip('`')}")["value"]
    default = _fields()[key].get_default()
    if isinstance(default, float) and isinstance(documented, str):
        documented = seconds_of(documented)
    assert documented == (STANDS_FOR_NONE[key] if default is None else default)


def test_the_manual_has_every_field_of_check_and_no_other() -> None:
    rows: dict[str, str] = dict(_table(JOBS, "## Check a job before a run"))
    assert _names(" ".join(rows)) == list(Findings().as_dict())
    assert _names(rows["`samples`"]) == [field.name for field in dataclasses.fields(SampleRequest)]
    findings = Findings()
    findings.count_invalid(Unreadable(1, 2, "people.csv", "bad_quotes", "text", "raw"))
    assert _names(rows["`invalid`"]) == list(findings.as_dict()["invalid"][0])


def test_the_manual_has_every_check_of_doctor_and_no_other() -> None:
    rows = [row for row in _table(JOBS, "## doctor: test the endpoint") if len(row) == 2]
    assert [name for check, _ in rows for name in _names(check)] == [*CHECKS, ALL, EACH]


def test_the_manual_names_every_parameter() -> None:
    of_start = set(_names(_section(JOBS, "## Request parameters and templates")))
    of_imports = set(_names(_without_code(_section(JOBS, "## Import methods and batches"))))
    assert {*START.parameters} <= of_start
    for method in METHODS.values():
        assert {method.name} <= of_imports
        assert {*method.known} <= (of_start if method is START else of_imports | FURTHER_PARAMETERS)
        if method.is_import:
            assert {*method.matching} <= of_imports


def test_the_manual_names_every_part_of_a_profile() -> None:
    named = _names(_without_code(_section(JOBS, "## Import methods and batches")))
    assert {*PART_MEANINGS, *CHANNELS} <= set(named)


def test_the_sandbox_has_every_fault_and_no_other() -> None:
    shares = {"no": 0.0, "half": 0.5, "yes": 1.0}
    for heading, faults in (("## Faults", FAULTS), ("## Faults of items", ITEM_FAULTS)):
        rows = _table(SANDBOX, f"{heading}\n")
        assert {_names(name)[0]: shares[processed] for name, processed, _ in rows} == faults


def test_the_sandbox_has_every_assumption_with_its_default() -> None:
    rows = _table(SANDBOX, "## Assumptions")
    documented = tomllib.loads(
        "\n".join(f"{_names(name)[0]} = {_names(default)[0]}" for name, default, _ in rows)
    )
    assert documented == dataclasses.asdict(Assumptions())


def test_the_sandbox_has_every_option_and_every_setting() -> None:
    rows = _table(SANDBOX, "## Options and settings")
    options = {parameter.opts[0] for parameter in COMMANDS["sandbox"].params}
    settings = {field.name for field in dataclasses.fields(SandboxConfig)} | {"latency", "retry_after"}
    assert {name for option, _, _ in rows for name in _names(option)} == options
    assert {name for _, key, _ in rows for name in _names(key)} == settings


@pytest.mark.parametrize("text", _blocks("toml"))
def test_every_example_is_toml(text: str) -> None:
    assert tomllib.loads(text)


@pytest.mark.parametrize("text", _blocks("python"))
def test_every_example_is_python(text: str) -> None:
    compile(text, "example", "exec")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_option_has_a_sentence(name: str) -> None:
    command = COMMANDS[name]
    context = click.Context(command)
    assert (command.help or "").rstrip().endswith(".")
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option):
            assert (parameter.help or "").endswith("."), parameter.opts


@pytest.mark.parametrize("block", _blocks("console"))
def test_every_command_line_is_one_that_its_command_takes(block: str) -> None:
    for line in re.findall(r"^\$ engager (.*)$", block, re.MULTILINE):
        words = line.partition("  #")[0].split()
        command = COMMANDS[words[0]]
        known = {text for parameter in command.params for text in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


def _slug(heading: str) -> str:
    """The anchor that a heading gets on GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")


def _without_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def _links() -> list[tuple[str, str]]:
    return [
        (name, target)
        for name, text in DOCUMENTS.items()
        for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(text))
        if not re.match(r"[a-z]+:", target)
    ]


@pytest.mark.parametrize(("name", "target"), _links())
def test_every_link_leads_to_a_file_and_a_heading(name: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = (ROOT / name).parent / path if path else ROOT / name
    assert file.exists()
    if anchor:
        headings = re.findall(r"^#+ (.*)$", _without_code(file.read_text(encoding="utf-8")), re.MULTILINE)
        assert anchor in map(_slug, headings)


def _named(pattern: str) -> list[tuple[str, str]]:
    """Document and text, wherever a document holds it as code."""
    return sorted({(name, found) for name, text in DOCUMENTS.items() for found in re.findall(pattern, text)})


@pytest.mark.parametrize(("name", "path"), _named(rf"`(?!{ELSEWHERE})([\w./-]+/[\w.-]*)`"))
def test_every_path_leads_to_a_file_or_a_folder(name: str, path: str) -> None:
    """From the root, or from the folder of its document."""
    assert (ROOT / path).exists() or ((ROOT / name).parent / path).exists()


@pytest.mark.parametrize(("name", "module"), _named(r"python3? -m ([\w.]+)"))
def test_every_module_that_is_to_be_run_can_be(name: str, module: str) -> None:
    assert find_spec(module) is not None
