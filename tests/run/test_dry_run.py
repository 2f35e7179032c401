"""What a look at a job and its rows finds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from engager.config.job import JobFile
from engager.errors import JobError
from engager.run.dry_run import check, seconds_at_rate
from tests.init.inputs import drafted

PEOPLE = "email,name\na@x.org,Ann\nnobody,Bob\nc@x.org\nd@x.org,D\n"


def job_of(folder: Path, *overrides: str) -> JobFile:
    drafted(folder, PEOPLE)
    return JobFile(folder / "job.toml", ["endpoint.token=env:ENGAGER_TEST_TOKEN", *overrides])


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", "t0ken-that-nobody-may-see")


def test_everything_that_was_found_as_json(tmp_path: Path) -> None:
    found = check(job_of(tmp_path, "limits.rate=50"), None, samples=1)
    reported = json.loads(json.dumps(found.as_dict()))
    assert (reported["rows"], reported["sendable"], reported["repeats"]) == (4, 2, 0)
    assert [(kind["error"], kind["rows"]) for kind in reported["invalid"]] == [
        ("malformed", 1),
        ("field_count", 1),
    ]
    assert "people.csv, line 3" in reported["invalid"][0]["example"]
    (sample,) = reported["samples"]
    assert (sample["row"], sample["key"], json.loads(sample["body"])["token"]) == (1, "a@x.org", "***")
    assert sample["headers"]["Request-ID"]
    assert "t0ken" not in json.dumps(reported)


def test_a_scenario_that_is_not_chosen_is_a_warning(tmp_path: Path) -> None:
    assert "request.id" in check(job_of(tmp_path), None, samples=0).warnings[0]
    assert check(job_of(tmp_path, "request.id=12"), None, samples=0).warnings == []


@pytest.mark.parametrize(
    ("overrides", "requests", "seconds"),
    [
        (["limits.rate=100"], 10_000, 100.5),  # the pace keeps half a per cent below the rate
        (["limits.rate=0.5"], 10, 20.1),
        (["limits.rate=100"], 0, 0.0),
        ([], 10_000, None),
        (["limits.rate=auto"], 10_000, None),
        (["limits.rate=auto", "limits.max_rate=50"], 10_000, None),  # a ceiling is no promise
    ],
)
def test_how_long_a_run_takes(
    tmp_path: Path, overrides: list[str], requests: int, seconds: float | None
) -> None:
    assert seconds_at_rate(job_of(tmp_path, *overrides).job, requests) == seconds


BATCHES = [
    "request.method=import_and_start_batch",
    "request.workflow_id=12",
    "request.skip_triggers=true",
    'request.data={ x = "{name}", subscriptions = [{ channel = "email", email = "{email}" }] }',
    "request.content={ campaign = 1 }",
]


def batch_job(folder: Path, people: int, *overrides: str, name: str = "Ann") -> JobFile:
    drafted(folder, "email,name\n" + "".join(f"p{number}@x.org,{name}\n" for number in range(people)))
    text = (folder / "job.toml").read_text().replace("id = 999999999", "workflow_id = 12")
    (folder / "job.toml").write_text(text)
    return JobFile(folder / "job.toml", ["endpoint.token=env:ENGAGER_TEST_TOKEN", *BATCHES, *overrides])


@pytest.mark.parametrize(
    ("overrides", "name", "seconds"),
    [
        ([], "Ann", 2.0),
        (["batch.rows=5"], "Ann", 4.0),
        (["batch.rows=21"], "Ann", 1.0),
        (["batch.bytes=2000"], "x" * 1000, 20.1),
    ],
)
def test_the_rate_of_a_job_with_batches_counts_requests(
    tmp_path: Path, overrides: list[str], name: str, seconds: float
) -> None:
    rate = ["limits.rate=1", "batch.rows=10", *overrides]
    found = check(batch_job(tmp_path, 20, *rate, name=name), None, samples=0)
    assert (found.sendable, found.seconds) == (20, seconds)


def test_a_sample_of_a_batch_is_a_batch_of_one_row(tmp_path: Path) -> None:
    found = check(batch_job(tmp_path, 2), None, samples=1)
    (sample,) = found.samples
    sent = json.loads(sample.body)
    assert sample.url.endswith("/api/v1.1/workflows/import_and_start_batch")
    assert [item["email"] for item in sent["data"]] == ["p0@x.org"]
    assert sample.headers["Request-ID"]
    assert found.warnings == []


REPEATED = "email,name\na@x.org,Ann\nA@x.org,Bob\nc@x.org,C\na@x.org,D\n"


def test_repeats_are_counted_whether_or_not_they_are_left_out(tmp_path: Path) -> None:
    job_of(tmp_path)
    (tmp_path / "people.csv").write_text(REPEATED)
    job = JobFile(tmp_path / "job.toml", ["endpoint.token=env:ENGAGER_TEST_TOKEN"])
    found = check(job, None, samples=0)
    assert (found.sendable, found.repeats, found.skipped.total()) == (4, 2, 0)
    assert found.repeated[0] == "row 2, A@x.org: row 1 has the same key"
    unique = JobFile(tmp_path / "job.toml", [*job.overrides, "input.unique=true"])
    found = check(unique, None, samples=0)
    assert (found.sendable, found.repeats, dict(found.skipped)) == (2, 2, {"repeat": 2})


def test_it_says_whether_the_run_fits_its_hours(tmp_path: Path) -> None:
    hours = ["limits.rate=0.001", "window.hours=00:00-12:00", "window.zone=UTC"]
    found = check(job_of(tmp_path, *hours), None, samples=0)
    assert found.seconds == pytest.approx(2010, abs=5)
    assert found.ends_at is not None
    assert "UTC" in found.ends_at
    assert found.openings in (1, 2)
    assert check(job_of(tmp_path, *hours[1:]), None, samples=0).ends_at is None


def test_every_list_says_what_it_leaves_out_and_nothing_is_a_warning(tmp_path: Path) -> None:
    lists = {"gone.txt": "Ann <A@x.org>,\nb@x.org\n", "other.csv": "email\nz@x.org\n", "none.csv": "email\n"}
    for name, content in lists.items():
        (tmp_path / name).write_text(content)
    job = job_of(tmp_path, "request.id=12", f"input.exclude={json.dumps(list(lists))}")
    found = check(job, None, samples=0)
    reported = [(Path(each["name"]).name, each["keys"], each["rows"]) for each in found.lists]
    assert reported == [("gone.txt", 2, 1), ("other.csv", 1, 0), ("none.csv", 0, 0)]
    assert dict(found.skipped) == {"excluded": 1}
    assert ["other.csv" in warning or "none.csv" in warning for warning in found.warnings] == [True, True]


def test_errors_are_reported_by_kind_and_column(tmp_path: Path) -> None:
    job_of(tmp_path)
    (tmp_path / "people.csv").write_text(
        "email,name,age\n,Ann,\na@x.org,Bob,\nb@x.org,Cid,\nc@x.org,D,7\n,,\n"
    )
    content = 'request.content={ age = "{age:int}" }'
    found = check(JobFile(tmp_path / "job.toml", [content, "request.id=12"]), None, samples=0)
    reported = {(kind["error"], kind["column"]): kind["rows"] for kind in found.as_dict()["invalid"]}
    assert reported == {("empty", "age"): 2, ("empty", "email"): 1}
    assert (found.sendable, dict(found.skipped)) == (1, {"blank": 1})


def test_a_column_that_no_object_has_is_named_with_its_file(tmp_path: Path) -> None:
    job_of(tmp_path)
    (tmp_path / "other.jsonl").write_text('{"mail": "a@x.org"}\n')
    with pytest.raises(JobError, match=r"other\.jsonl.*'email'.*\[request\]"):
        check(
            JobFile(tmp_path / "job.toml", ["input.format=jsonl"]), str(tmp_path / "other.jsonl"), samples=0
        )


def shown(job: JobFile, limit: int | None = None) -> list[tuple[int, int | None]]:
    seen: list[tuple[int, int | None]] = []
    check(job, None, samples=0, limit=limit, show=lambda rows, total: seen.append((rows, total)))
    return seen


def large(folder: Path, name: str, rows: int = 5000) -> JobFile:
    text = "email,name\n" + "".join(f"p{number}@x.org,Name\n" for number in range(rows))
    opened = gzip.open if name.endswith(".gz") else open
    with opened(folder / name, "wt") as file:
        file.write(text)
    return job_of(folder, f"input.path={name}")


def test_how_far_it_is_has_an_end_in_sight(tmp_path: Path) -> None:
    seen = shown(large(tmp_path, "large.csv"))
    rows = [done for done, _ in seen]
    assert rows == sorted(rows)
    assert len(set(rows)) > 10
    assert seen[len(seen) // 2][1] == 5000
    assert seen[-1] == (5000, 5000)


def test_a_limit_is_the_end_in_sight(tmp_path: Path) -> None:
    job = large(tmp_path, "large.csv")
    assert shown(job, 4000)[-1] == (4000, 4000)
    assert shown(job, 9000)[-1] == (5000, 5000)


def test_no_end_is_claimed_where_none_is_known(tmp_path: Path) -> None:
    seen = shown(large(tmp_path, "large.csv.gz"))
    assert {total for _, total in seen} == {None}
    assert seen[-1][0] == 5000
