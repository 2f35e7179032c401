"""What a job says of the endpoint becomes a token that is worth one."""

from __future__ import annotations

from pathlib import Path

import pytest

from engager import JobError, JobFile, build_job
from engager.altcraft.methods import METHODS, Method
from engager.config.secret import Secret
from engager.endpoint.access import LEAST_TOKEN, destination_of, token_of


def job(folder: Path, url: str) -> JobFile:
    return build_job(
        {
            "job": {"name": "t"},
            "endpoint": {"url": url, "token": "env:ENGAGER_TEST_TOKEN"},
            "input": {"path": "people.csv"},
            "request": {"id": 1, "email": "{email}"},
        },
        base=folder,
    )


@pytest.mark.parametrize("url", ["https://x.example", "http://10.0.0.1", "https://localhost.example"])
@pytest.mark.parametrize(("length", "taken"), [(1, False), (LEAST_TOKEN - 1, False), (LEAST_TOKEN, True)])
def test_a_token_of_a_few_letters_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, length: int, taken: bool
) -> None:
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", "zq7zq7zq"[:length])
    if taken:
        assert token_of(job(tmp_path, url)).reveal() == "zq7zq7zq"[:length]
    else:
        with pytest.raises(JobError, match=r"endpoint\.token.*ENGAGER_TEST_TOKEN"):
            token_of(job(tmp_path, url))


@pytest.mark.parametrize("url", ["sandbox", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"])
def test_but_not_by_an_endpoint_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("ENGAGER_TEST_TOKEN", "zq7zq")
    assert token_of(job(tmp_path, url)).reveal() == "zq7zq"


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_the_address_follows_from_the_method(tmp_path: Path, method: Method) -> None:
    made = build_job(
        {
            "job": {"name": "t"},
            "endpoint": {"url": "https://x.example/", "token": "env:ENGAGER_TEST_TOKEN"},
            "input": {"path": "people.csv"},
            "request": {"method": method.name, method.scenario: 1, "email": "{email}"},
        },
        base=tmp_path,
    )
    url = destination_of(made, Secret("t0ken-of-the-tests"), made.job.endpoint.url).url
    assert url == f"https://x.example/api/v1.1/workflows/{method.name}"
