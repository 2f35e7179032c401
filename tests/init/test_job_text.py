"""The job that is written: valid at once, complete, and harmless."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engager.altcraft.parameters import FURTHER_MATCHING, MATCHING, PARAMETERS
from engager.config.job import JobFile
from engager.config.job_sections import Job
from engager.config.sections import Section
from engager.errors import InputError, JobError
from engager.init.job_text import path_from
from engager.models import EngageRequest
from engager.reader.outcome_lines import REASON_COLUMNS
from engager.requests.template import compile_value
from engager.run.opening_input import open_input
from tests.init.inputs import built, content_of, drafted

PEOPLE = "email,first_name,age\nann@x.org,Anna Secret,31\nbob@x.org,,\n"


def test_every_row_can_be_sent_at_once(tmp_path: Path) -> None:
    _, job = drafted(tmp_path, PEOPLE)
    requests = built(job)
    assert all(isinstance(request, EngageRequest) for request in requests)
    assert [request.key for request in requests] == ["ann@x.org", "bob@x.org"]
    assert content_of(job) == {"first_name": "{first_name|}", "age": "{age:int|}"}


def test_it_reaches_no_person(tmp_path: Path) -> None:
    _, job = drafted(tmp_path, PEOPLE)
    assert job.job.endpoint.url == "sandbox"
    assert job.job.endpoint.token == "env:ALTCRAFT_TOKEN"


def test_no_other_endpoint_is_asked_for_a_scenario_that_is_not_chosen(tmp_path: Path) -> None:
    drafted(tmp_path, PEOPLE)
    real = "endpoint.url=https://ru.altkraft.com"
    with pytest.raises(JobError, match=r"job\.toml:\d+: request\.id: "):
        JobFile(tmp_path / "job.toml", [real])
    assert JobFile(tmp_path / "job.toml", [real, "request.id=12"]).job.request["id"] == 12


def test_nothing_of_a_row_stands_in_it(tmp_path: Path) -> None:
    made, _ = drafted(tmp_path, "email,first_name,age\nann@x.org,Anna Secret,3141\n")
    assert not re.search("ann@|Anna|Secret|3141", made.text + "".join(made.warnings))


def test_every_key_of_the_manual_stands_in_it(tmp_path: Path) -> None:
    text = drafted(tmp_path, PEOPLE)[0].text
    for name, described in Job.model_fields.items():
        if name == "cluster":  # few need it, and its keys go together
            continue
        assert f"[{name}]" in text
        if isinstance(described.annotation, type) and issubclass(described.annotation, Section):
            for key, field in described.annotation.model_fields.items():
                assert re.search(rf"^(# )?{key} = .+", text, re.MULTILINE), key
                assert str(field.description).replace("`", "") in text or f"\n{key} = " in text


def test_every_optional_parameter_stands_in_it(tmp_path: Path) -> None:
    text = drafted(tmp_path, PEOPLE)[0].text
    modes = [*MATCHING.values(), *FURTHER_MATCHING.values()]
    matched = {name for mode in modes for name in mode.fields}
    for name in {*PARAMETERS} - matched - {"custom_request", "content"}:
        assert re.search(rf"^(# )?{name} = .+", text, re.MULTILINE), name


def test_what_is_written_as_a_default_is_the_default(tmp_path: Path) -> None:
    """Every default that stands there as a comment may be taken for what it says."""
    made, job = drafted(tmp_path, PEOPLE)
    uncommented = [
        line.removeprefix("# ") if re.match(r"# \w+ = (?!.*(\(not set\)|CHANGE))", line) else line
        for line in made.text.splitlines()
    ]
    assert len([line for line in made.text.splitlines() if line not in uncommented]) > 15
    (tmp_path / "job.toml").write_text("\n".join(uncommented))
    assert JobFile(tmp_path / "job.toml").job == job.job


def test_every_example_may_be_made_use_of(tmp_path: Path) -> None:
    made, _ = drafted(tmp_path, PEOPLE)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "offer.pdf").write_bytes(b"x")
    for line in re.findall(r"^# \w+ = .*\(not set\).*$", made.text, re.MULTILINE):
        section = re.findall(r"^(?:# )?\[(\w+)\]", made.text[: made.text.index(line)], re.MULTILINE)[-1]
        if line.startswith(("# max_", "# delimiter", "# run_", "# filter")) or section == "batch":
            # A ceiling goes with "auto", a delimiter with another file, a run's name with its start, a filter
            # with a column of that name, and a batch with its methods.
            continue
        text = made.text.replace(line, line.removeprefix("# "))
        (tmp_path / "job.toml").write_text(text.replace(f"# [{section}]", f"[{section}]"))
        assert built(JobFile(tmp_path / "job.toml")), line


def test_what_keeps_a_mistake_small_is_advised_and_may_be_made_use_of(tmp_path: Path) -> None:
    text = drafted(tmp_path, PEOPLE)[0].text
    advised = re.findall(r"^# \w+ = .*ADVISED: .+$", text, re.MULTILINE)
    for line in advised:
        text = text.replace(line, line.removeprefix("# "))
    (tmp_path / "job.toml").write_text(text)
    job = JobFile(tmp_path / "job.toml").job
    assert (len(advised), job.limits.confirm_above, job.stop.max_failed) == (3, 100, "3%")
    assert job.window.hours == ["09:00-20:00"]
    assert job.window.policy is not None


def test_what_was_guessed_is_written_and_reported(tmp_path: Path) -> None:
    data = "Телефон;Имя;Имя;{скидка};engager_row\n+79160000000;Иван;Петров;5;1\n"
    made, job = drafted(tmp_path, data.encode("cp1251"))
    given = job.job.input
    assert (given.delimiter, given.encoding, given.format) == (";", "cp1251", None)
    assert (job.job.request["matching"], job.job.request["phone"]) == ("phone", "{Телефон}")
    assert content_of(job) == {}
    assert re.search(r'^encoding = "cp1251" +# ', made.text, re.MULTILINE)
    text = "\n".join(made.warnings)
    assert all(word in text for word in ("2 columns", "{скидка}", "engager_row", "cp1251"))


def test_rows_whose_key_does_not_fit_are_reported(tmp_path: Path) -> None:
    made, _ = drafted(tmp_path, "email\na@x.org\nb@x.org\nnobody\n")
    assert len(made.warnings) == 1
    assert re.match(r"request\.email: 1 of all 3 rows", made.warnings[0])


@pytest.mark.parametrize(
    ("broken", "count"),
    [(["b@x.org"], ""), (["b@x.org", "c"], "2 ")],
)
def test_a_row_that_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, broken: list[str], count: str
) -> None:
    lines = ["email,name", 'a@x.org,"A\nB"', *broken, "d@x.org,D"]
    made, _ = drafted(tmp_path, "\n".join(lines))
    row = f"row 2 ({tmp_path / 'people.csv'}, line 4)"
    assert len(made.warnings) == 1
    assert made.warnings[0].startswith(count)
    assert row in made.warnings[0]


def test_matching_by_a_field_of_ones_own_asks_to_be_looked_at(tmp_path: Path) -> None:
    made, job = drafted(tmp_path, "CRM_ID,name\n17,A\n")
    assert (job.job.request["field_name"], job.job.request["field_value"]) == ("CRM_ID", "{CRM_ID:int}")
    assert "request.field_name" in made.warnings[0]


def test_blanks_around_a_name_stay_out_of_messages(tmp_path: Path) -> None:
    _, job = drafted(tmp_path, "email, city,a , a\na@x.org,Rome,1,2\n")
    assert content_of(job) == {"city": "{ city}", "a ": "{a :int}", " a": "{ a:int}"}


def test_an_input_with_no_usable_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column"):
        drafted(tmp_path, "{a},{b}\n1,2\n")


def _read_by(job: JobFile, columns: tuple[str, ...] | None) -> set[str]:
    return set(compile_value(job.job.request, columns, "request").columns)


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00") | st.sampled_from("{}|:;,\"'\\\n\t #=[]."),
    max_size=12,
)


@settings(deadline=None, max_examples=150)
@given(st.lists(NAMES, min_size=1, max_size=6))
@example(["email", "a{b", "a:int", "a", "a|b", 'q"', "\\", "#", "\u2028", "'''", '"""', "", " "])
def test_any_header_makes_a_job_that_reads_its_columns_and_no_others(names: list[str]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([names, ["x"] * len(names)])
    with tempfile.TemporaryDirectory() as folder:
        try:
            _, job = drafted(Path(folder), text.getvalue())
        except InputError:
            return
        rows = open_input(job, None, 0.0)
        rows.close()
        assert rows.columns is not None
        usable = {name for name in rows.columns if name.strip() and rows.columns.count(name) == 1}
        usable = {name for name in usable if not set(name) & set("{}")}
        assert _read_by(job, rows.columns) == usable - set(REASON_COLUMNS)


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(NAMES, st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3), min_size=1)
)
@example({"utm:source": 1, "a|b": 1, "a:int": "x", "{": 1, "": 1})
def test_any_keys_make_a_job_that_reads_some_of_them(row: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            _, job = drafted(Path(folder), json.dumps(row) + "\n", "a.jsonl")
        except InputError:
            return
        assert _read_by(job, None) <= set(row)
        assert len(built(job)) == 1


def test_the_inputs_path_is_as_the_job_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert path_from(Path("job.toml"), "people.csv") == "people.csv"
    assert path_from(Path("jobs/job.toml"), "data/people.csv") == "../data/people.csv"
    assert path_from(Path("job.toml"), str(tmp_path / "a/*.csv")) == "a/*.csv"
    assert path_from(Path("job.toml"), "./-") == "./-"  # "-" alone would be stdin
    with pytest.raises(JobError, match="rename it"):
        path_from(Path("job.toml"), "\udcff.csv")
