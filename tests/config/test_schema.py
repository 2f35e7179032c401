"""The schema for editors: a true one, that takes what a run takes and refuses what it refuses."""

from __future__ import annotations

import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from engager.altcraft.methods import METHODS
from engager.altcraft.parameters import MEANINGS
from engager.altcraft.profile_data import PART_MEANINGS, SHAPES
from engager.config.job import JobFile, _override
from engager.config.job_sections import Job
from engager.config.schema import job_schema
from engager.config.secret import read_secret
from engager.config.sections import Section
from engager.endpoint.access import spec_of
from engager.errors import EngagerError
from engager.requests.builder import compile_builder
from engager.sandbox.config import SandboxConfig
from tests.init.inputs import drafted

ROOT = Path(__file__).parents[2]
SCHEMA = Draft202012Validator(job_schema())
GOOD: dict[str, Any] = {
    "job": {"name": "test"},
    "endpoint": {"url": "https://x.org", "token": "env:ENGAGER_TEST_TOKEN"},
    "input": {"path": "a.csv"},
    "request": {"id": 12, "email": "{email}"},
}


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(job_schema())


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.toml")), ids=lambda file: file.name)
def test_every_example_is_valid(file: Path) -> None:
    assert list(SCHEMA.iter_errors(tomllib.loads(file.read_text()))) == []


def test_what_init_writes_is_valid(tmp_path: Path) -> None:
    made, _ = drafted(tmp_path, "email,first name,age\na@x.org,Ann,5\n")
    assert list(SCHEMA.iter_errors(tomllib.loads(made.text))) == []


def test_every_key_has_its_sentence_and_none_may_be_invented() -> None:
    tables = {**job_schema()["$defs"], **job_schema()["properties"]}
    for name, described in Job.model_fields.items():
        kind = described.annotation
        section = isinstance(kind, type) and issubclass(kind, Section)
        table = tables[kind.__name__ if section else name]  # type: ignore[union-attr]
        assert table["additionalProperties"] is False
        for key, schema in table["properties"].items() if name != "sandbox" else ():
            assert schema.get("description"), f"{name}.{key}"
    assert {name for method in METHODS.values() for name in method.known} == set(MEANINGS)
    known = SHAPES["data"].parts
    subscription = known["subscriptions"].items
    assert subscription is not None
    assert {*known, *subscription.parts} == set(PART_MEANINGS)


def test_a_default_is_written_as_a_job_would_have_it() -> None:
    defs = job_schema()["$defs"]
    assert defs["DeliverySection"]["properties"]["dedupe_window"]["default"] == "24h"
    assert defs["WindowSection"]["properties"]["days"]["default"] == "mon-sun"
    assert "default" not in defs["LimitsSection"]["properties"]["rate"]
    for section in defs.values():
        for schema in section.get("properties", {}).values():
            if "default" in schema:
                assert not list(SCHEMA.evolve(schema=schema).iter_errors(schema["default"]))


IMPORT = ["request.id=", "request.workflow_id=12", "request.method=import_and_start"]
BATCH = [*IMPORT[:2], "request.method=import_and_start_batch"]


def _with(*overrides: str) -> dict[str, Any]:
    tables = deepcopy(GOOD)
    if overrides[0] in IMPORT:
        del tables["request"]["id"]
        overrides = overrides[1:]
    for override in overrides:
        _override(tables, override)
    return tables


@pytest.mark.parametrize(
    "override",
    [
        "limits.rate=0.5",
        "limits.rate=auto",
        "limits.concurrency=auto",
        "retry.max_delay=2m",
        "retry.base_delay=1",
        "stop.max_failed=3%",
        "stop.max_failed=5",
        "stop.deadline=06:00",
        "stop.deadline=3600",
        "window.days=mon-fri",
        'window.days=["mon", "wed"]',
        "window.hours=09:00-20:00",
        "delivery.mode=at-most-once",
        "job.name={date}-nightly",
        "output.directory=../{{runs}}/{datetime}",
        "endpoint.url=HTTPS://X.org:8443",
        "endpoint.token=file:token.txt",
        "input.delimiter=|",
        "request.id={scenario:int}",
        "request.content={everything:json}",
        'request.content={ a = "{b}", c = [1, { d = true }] }',
        'request.subscription_filter={ phone = "{phone}", not_strict = true }',
        "request.method=start",
        "\n".join(IMPORT),
        "\n".join([*IMPORT, "request.data={everything:json}", "request.custom_data={ a = 1 }"]),
        "\n".join([*IMPORT, "request.skip_triggers={yes:bool}", "request.db_id={n:int}"]),
        "\n".join([*IMPORT, "request.matching=custom", "request.field_name=a", "request.field_value=1.5"]),
        "\n".join([*IMPORT, 'request.data={ email = { action = "unset" }, phones = ["{a}"], x = [1] }']),
        "\n".join(
            [*IMPORT, 'request.data={ subscriptions = [{ channel = "sms", phone = "{a}" }, "{b:json}"] }']
        ),
        "\n".join([*BATCH, "batch.rows=10000", "limits.concurrency=6", "batch.split=false"]),
        "\n".join([*BATCH, "batch.content_by_row=true", 'request.content={ a = "{b}" }']),
        "sandbox.latency=20-80ms",
        'profiles.stage={ endpoint = { url = "sandbox" }, request = { id = 9 }, limits = { rate = 5 } }',
        'profiles.a-1={ sandbox = { latency = "1ms" }, stop = { deadline = "06:00" } }',
        'input.filter={ consent = ["yes", 1, true] }',
        "input.path=night-{date}.csv",
        "output.metrics=/x/night.prom",
        "output.push=http://localhost:9091",
        'sandbox.faults={ "503" = 0.5 }',
        "sandbox.assumptions={ deduplicate = false }",
    ],
)
def test_what_a_run_takes_is_valid(override: str, tmp_path: Path) -> None:
    tables = _with(*override.split("\n"))
    assert list(SCHEMA.iter_errors(tables)) == []
    assert JobFile.from_tables(tables, tmp_path)


@pytest.mark.parametrize(
    "override",
    [
        "job.name=.hidden",
        "job.name=n-{day}",
        "output.directory=runs/{day}",
        "output.directory=runs/{date",
        "limit.rate=5",
        "limits.rat=5",
        "limits.rate=0",
        "limits.rate=fast",
        "limits.rate=true",
        "limits.concurrency=0",
        "limits.concurrency=5000",
        "limits.concurrency=1.5",
        "limits.processes=0",
        "limits.processes=65",
        "limits.processes=many",
        "cluster.at_least=0",
        "cluster.scheduler=scheduler",
        "limits.confirm_above=0",
        "retry.attempts=0",
        "retry.max_delay=soon",
        "retry.max_delay=-1",
        "delivery.mode=twice",
        "delivery.probe=yes",
        "stop.max_failed=3 per cent",
        "stop.max_failed=0",
        "stop.deadline=-5",
        "window.days=[]",
        "window.hours=5",
        "window.outside=wait",
        "endpoint.url=ftp://x.org",
        "endpoint.url=https://x.org/api/v1.1",
        "endpoint.url=https://x.org/#top",
        "endpoint.url=https://x.org?",
        "endpoint.url=https://user@x.org",
        "endpoint.url=https://:secret@x.org",
        r"endpoint.url=https://x.org\y.org",
        "endpoint.token=a-literal-token",
        "endpoint.format=csv",
        "input.delimiter=ab",
        "input.delimiter='\"'",
        "input.max_row_bytes=5",
        "output.results=xlsx",
        "job.name=a b",
        "request.id=0",
        "request.id=twelve",
        "request.mail={email}",
        "request.email=",
        "request.matching=phone",
        "request.matching=email_sub",
        "request.matching=name",
        "request.custom_request={}",
        'request.custom_request={ a = "b" }\nrequest.matching=email',
        "request.content=5",
        "request.resource_id=-1",
        'request.subscription_filter={ email = "{email}", phone = "{phone}" }',
        "request.attach=offer.pdf",
        'request.attach=["{file}"]',
        "request.method=import",
        "request.workflow_id=12",
        "request.data={ a = 1 }",
        "batch.rows=500",
        "\n".join([*IMPORT, "batch.rows=500"]),
        "\n".join([*IMPORT, "request.resource_id=24"]),
        "\n".join([*IMPORT, 'request.custom_request={ a = "{email}" }']),
        "\n".join([*IMPORT, 'request.subscription_filter={ email = "{email}" }']),
        "\n".join([*IMPORT, "request.id=12"]),
        "\n".join([*IMPORT, "request.matching=email_sub"]),
        "\n".join([*IMPORT, "request.matching=phone"]),
        "\n".join([*IMPORT, "request.skip_triggers=1"]),
        "\n".join([*IMPORT, "request.data=[]"]),
        "\n".join([*IMPORT, "request.data={ phones = 5 }"]),
        "\n".join([*IMPORT, "request.data={ subscriptions = [{ chanel = 'sms', phone = '{phone}' }] }"]),
        "\n".join([*IMPORT, "request.data={ subscriptions = [{ channel = 'fax', phone = '{phone}' }] }"]),
        "\n".join([*BATCH, "request.workflow_id={scenario:int}"]),
        "\n".join([*BATCH, "request.skip_triggers={scenario:bool}"]),
        "\n".join([*BATCH, "batch.rows=0"]),
        "\n".join([*BATCH, "batch.rows=10001"]),
        "\n".join([*BATCH, "batch.bytes=10000001"]),
        "\n".join([*BATCH, "batch.split=1"]),
        "sandbox.faults={ fire = 0.5 }",
        "sandbox.weather=bad",
        "profiles.stage.limit={ rate = 5 }",
        "profiles.stage.limits={ rat = 5 }",
        "profiles.stage.limits=5",
        "profiles.stage=5",
        'input.filter={ consent = "yes" }',
        "input.filter={ consent = [] }",
        "input.filter={ consent = [{}] }",
        "input.on_empty=maybe",
        "input.path=night-{day}.csv",
        "output.metrics=night.txt",
        "output.push=http://localhost:9091/metrics",
    ],
)
def test_what_a_run_refuses_is_not_valid(
    override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", "token")
    tables = _with(*override.split("\n"))
    assert list(SCHEMA.iter_errors(tables))
    with pytest.raises((EngagerError, ValueError)):
        _begun(JobFile.from_tables(tables, tmp_path))


def _begun(job_file: JobFile) -> None:
    """Everything of a job that a run looks at before its first row."""
    columns = ("email", "phone", "file", "scenario")
    read_secret(str(job_file.job.endpoint.token), job_file.base)
    compile_builder(spec_of(job_file, "token"), columns, "run")
    SandboxConfig.from_mapping(job_file.job.sandbox)


def test_a_file_needs_an_input_and_the_rows_of_a_program_need_none(tmp_path: Path) -> None:
    tables = deepcopy(GOOD)
    del tables["input"]["path"]
    assert list(SCHEMA.iter_errors(tables))
    assert JobFile.from_tables(tables, tmp_path).job


@pytest.mark.parametrize("key", ["job", "job.name", "endpoint.url", "endpoint.token", "request.id"])
def test_what_is_missing_is_not_valid(key: str, tmp_path: Path) -> None:
    tables = deepcopy(GOOD)
    section, _, name = key.partition(".")
    del (tables[section] if name else tables)[name or section]
    assert list(SCHEMA.iter_errors(tables))
    with pytest.raises(EngagerError):
        compile_builder(spec_of(JobFile.from_tables(tables, tmp_path), "token"), ("email",), "run")
