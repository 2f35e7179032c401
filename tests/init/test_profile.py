"""The data of a profile that is proposed for a header: every row can be sent at once."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engager.altcraft.methods import METHODS, Method
from engager.config.job import JobFile
from engager.config.schema import job_schema
from engager.errors import InputError, JobError
from engager.models import EngageRequest
from tests.init.inputs import built, drafted

IMPORTS = [method for method in METHODS.values() if method.is_import]
ONE, MANY = METHODS["import_and_start"], METHODS["import_and_start_batch"]
PEOPLE = (
    "email,first_name,Фамилия,birthday,age,mobile,CRM\n"
    "ann@x.org,Ann,A,2001-12-31,31,+79000000001,7\nb@x.org,,,,,,\n"
)


def data_of(folder: Path, content: str, name: str = "people.csv", method: Method = ONE) -> Any:
    return drafted(folder, content, name, method)[1].job.request.get("data")


@pytest.mark.parametrize("method", IMPORTS, ids=lambda method: method.name)
def test_a_job_for_a_header(tmp_path: Path, method: Method) -> None:
    made, job = drafted(tmp_path, PEOPLE, method=method)
    request = job.job.request
    assert (request["method"], request["matching"], request["email"]) == (method.name, "email", "{email}")
    assert request["skip_triggers"] is True
    assert request["data"] == {
        "email": "{email}",
        "phones": ["{mobile}"],
        "_fname": "{first_name|}",
        "_lname": "{Фамилия|}",
        "_bdate": "{birthday|}",
        "age": "{age:int|}",
        "CRM": "{CRM:int|}",
        "subscriptions": [
            {"channel": "email", "email": "{email}"},
            {"channel": "sms", "phone": "{mobile}"},
        ],
    }
    assert (made.place, made.columns, made.warnings) == ("data", 7, [])
    requests = built(job)
    assert all(isinstance(each, EngageRequest) for each in requests)
    assert job.warnings == []
    assert list(Draft202012Validator(job_schema()).iter_errors(tomllib.loads(made.text))) == []


@pytest.mark.parametrize("method", IMPORTS, ids=lambda method: method.name)
def test_what_is_written_as_a_default_is_the_default(tmp_path: Path, method: Method) -> None:
    made, job = drafted(tmp_path, PEOPLE, method=method)
    uncommented = [
        line.removeprefix("# ") if re.match(r"# \w+ = (?!.*(\(not set\)|CHANGE))", line) else line
        for line in made.text.splitlines()
    ]
    (tmp_path / "job.toml").write_text("\n".join(uncommented))
    assert JobFile(tmp_path / "job.toml").job == job.job
    assert any(line.startswith("rows = 500 ") for line in uncommented) == method.is_batch


@pytest.mark.parametrize("method", IMPORTS, ids=lambda method: method.name)
def test_every_parameter_stands_in_it_and_may_be_made_use_of(tmp_path: Path, method: Method) -> None:
    made, _ = drafted(tmp_path, PEOPLE, method=method)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "offer.pdf").write_bytes(b"x")
    section = made.text[made.text.index("[request]") : made.text.index("[request.data]")]
    lines = re.findall(r"^# \w+ = .*\(not set\).*$", section, re.MULTILINE)
    for line in lines:
        (tmp_path / "job.toml").write_text(made.text.replace(line, line.removeprefix("# ")))
        assert isinstance(built(JobFile(tmp_path / "job.toml"))[0], EngageRequest), line
    matched = {field for mode in method.modes(True).values() for field in mode.fields}
    for name in {*method.known} - matched:
        assert re.search(rf"^(# )?(request\.)?\[?(request\.)?{name}\b", made.text, re.MULTILINE), name


def test_no_other_endpoint_is_asked_for_a_scenario_that_is_not_chosen(tmp_path: Path) -> None:
    drafted(tmp_path, PEOPLE, method=MANY)
    with pytest.raises(JobError, match=r"job\.toml:\d+: request\.workflow_id: "):
        JobFile(tmp_path / "job.toml", ["endpoint.url=https://ru.altkraft.com"])


def test_a_place_with_a_rule_is_for_columns_that_keep_it(tmp_path: Path) -> None:
    text = "email,phone,birthday\na@x.org,8 (916) x,1.2.2001\nb@x.org,+79000000001,\n"
    data = data_of(tmp_path, text)
    assert data["subscriptions"] == [{"channel": "email", "email": "{email}"}]
    assert (data["phone"], data["birthday"]) == ("{phone}", "{birthday|}")


@pytest.mark.parametrize("phone", ["79000000001", '"79000000001"'])
def test_a_row_of_jsonl_without_a_key_can_be_sent(tmp_path: Path, phone: str) -> None:
    text = f'{{"email": "a@x.org", "phone": {phone}}}\n{{"email": "b@x.org"}}\n'
    _, job = drafted(tmp_path, text, "a.jsonl", MANY)
    first, second = built(job)
    assert isinstance(first, EngageRequest)
    assert isinstance(second, EngageRequest)
    assert json.loads(first.body[0])["data"]["phones"] == ["79000000001"]
    assert "phones" not in json.loads(second.body[0])["data"]


def test_what_a_profile_is_found_by_is_a_field_of_it(tmp_path: Path) -> None:
    assert data_of(tmp_path, "CRM_ID,name\n17,A\n") == {"CRM_ID": "{CRM_ID:int}", "name": "{name}"}


def test_a_column_whose_name_data_uses_otherwise_is_not_used(tmp_path: Path) -> None:
    made, job = drafted(tmp_path, "email,phones,subscriptions\na@x.org,x,y\n", method=ONE)
    assert set(job.job.request["data"]) == {"email", "subscriptions"}
    assert len(made.warnings) == 2
    assert isinstance(built(job)[0], EngageRequest)


NAMES = st.sampled_from(["email", "phones", "subscriptions", "имя", "first_name", "_fname", "id"]) | st.text(
    st.characters(codec="utf-8", exclude_characters="\x00") | st.sampled_from("{}|:;,\"'\\\n\t #=[]."),
    max_size=9,
)
VALUES = st.sampled_from(["", "x", "a@x.org", "+79000000001", "7", "2001-12-31"])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(NAMES, VALUES, VALUES), min_size=1, max_size=6))
@example([("email", "a@x.org", "b@x.org"), (" email", "x", ""), ("email ", "a@x.org", "")])
def test_any_header_makes_a_job_whose_rows_its_data_does_not_spoil(
    columns: list[tuple[str, str, str]],
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(zip(*columns, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        try:
            _, of_start = drafted(Path(folder), text.getvalue())
        except InputError:
            return
        sent = [type(each) for each in built(of_start)]
        _, of_import = drafted(Path(folder), text.getvalue(), method=MANY)
        assert [type(each) for each in built(of_import)] == sent
