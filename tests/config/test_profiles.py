"""Profiles: named environments whose values replace those of the job."""

from __future__ import annotations

from pathlib import Path

import pytest

from engager import JobError, load_job
from engager.config.job import JobFile

TEXT = """
[job]
name = "spring"
[endpoint]
url = "https://x.org"
token = "env:PROD"
[input]
path = "a.csv"
[request]
id = 12
email = "{email}"
content = { a = "1", b = "2" }

[profiles.stage.endpoint]
url = "https://stage.x.org"
[profiles.stage.request]
id = 99
content = { c = "3" }
[profiles.stage.limits]
rate = 5

[profiles.rehearsal]
endpoint = { url = "sandbox" }
sandbox = { latency = "1ms" }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "job.toml").write_text(TEXT)
    return tmp_path / "job.toml"


def test_without_a_choice_the_job_is_as_it_stands(path: Path) -> None:
    made = load_job(path)
    assert (made.profile, made.job.endpoint.url, made.job.limits.rate) == (None, "https://x.org", None)


def test_a_profile_replaces_keys_and_leaves_the_others(path: Path) -> None:
    made = load_job(path, ["profile=stage"])
    assert (made.profile, made.job.endpoint.url, made.job.endpoint.token) == (
        "stage",
        "https://stage.x.org",
        "env:PROD",
    )
    assert made.job.request == {"id": 99, "email": "{email}", "content": {"c": "3"}}
    assert load_job(path, ["profile=rehearsal"]).job.sandbox == {"latency": "1ms"}


def test_an_override_replaces_a_value_of_the_profile(path: Path) -> None:
    for overrides in (["limits.rate=7", "profile=stage"], ["profile=stage", "limits.rate=7"]):
        assert load_job(path, overrides).job.limits.rate == 7
    assert load_job(path, ["profile=stage", "profile=rehearsal"]).profile == "rehearsal"


def test_a_job_is_loaded_again_in_its_profile(path: Path) -> None:
    again = JobFile.from_source(load_job(path, ["profile=stage"]).source)
    assert (again.profile, again.job.limits.rate) == ("stage", 5)
    made = JobFile.from_tables(
        {"job": {"name": "x"}, "input": {"path": "a"}, "request": {"id": 1, "email": "{e}"}}
        | {"endpoint": {"url": "sandbox"}, "profiles": {"slow": {"limits": {"rate": 1}}}},
        path.parent,
        ["profile=slow"],
    )
    again = JobFile.from_source(made.source)
    assert (again.profile, again.job.limits.rate) == ("slow", 1)


def test_a_profile_that_is_not_there_is_refused_with_those_that_are(path: Path) -> None:
    with pytest.raises(JobError, match=r"job\.toml.*'stge'.*'stage'"):
        load_job(path, ["profile=stge"])
    path.write_text(TEXT[: TEXT.index("[profiles")])
    with pytest.raises(JobError, match="'stage'"):
        load_job(path, ["profile=stage"])


@pytest.mark.parametrize(
    ("added", "key", "line"),
    [
        ("[profiles.test.limit]\nrate = 5", "profiles.test.limit", 25),
        ("[profiles.test.limits]\nrat = 5", "profiles.test.limits.rat", 26),
        ("[profiles.test]\nlimits = 5", "profiles.test.limits", 26),
        ("[profiles.test.profiles.a]\nlimits = 5", "profiles.test.profiles", None),
        ("[profiles.'te st'.limits]\nrate = 5", "profiles.te st", None),
    ],
)
def test_a_profile_that_is_not_chosen_is_checked_too(
    path: Path, added: str, key: str, line: int | None
) -> None:
    path.write_text(f"{TEXT}{added}\n")
    with pytest.raises(JobError) as refused:
        load_job(path)
    assert f"{key}: " in str(refused.value)
    if line is not None:
        assert f"job.toml:{line}: " in str(refused.value)


def test_a_wrong_value_is_reported_where_it_stands(path: Path) -> None:
    path.write_text(TEXT.replace("rate = 5", "rate = -5"))
    assert load_job(path)
    with pytest.raises(JobError, match=r"job\.toml:20: profiles\.stage\.limits\.rate: "):
        load_job(path, ["profile=stage"])


@pytest.mark.parametrize(
    ("job", "own", "is_warned"),
    [
        ("", "", True),
        ("", 'job = { name = "other" }', False),
        ("", 'output = { directory = "runs/other" }', False),
        ('[output]\ndirectory = "runs/{date}"', 'job = { name = "other" }', True),
    ],
)
def test_a_rehearsal_in_the_run_directory_of_the_job_is_warned_of(
    path: Path, job: str, own: str, is_warned: bool
) -> None:
    path.write_text(f"{job}\n{TEXT}{own}\n")
    rehearsal = load_job(path, ["profile=rehearsal"])
    assert any("[profiles.rehearsal.output]" in text for text in rehearsal.warnings) is is_warned
    assert not any("[profiles." in text for text in load_job(path, ["profile=stage"]).warnings)
