"""A job says what is likely not meant, and refuses what is not safe."""

from __future__ import annotations

from pathlib import Path

import pytest

from engager import JobError, build_job

PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY")


def warnings(folder: Path, **endpoint: str) -> int:
    tables = {
        "job": {"name": "t"},
        "endpoint": {"token": "env:ENGAGER_TEST_TOKEN", **endpoint},
        "input": {"path": "people.csv"},
        "request": {"id": 1, "email": "{email}"},
    }
    return len(build_job(tables, base=folder).warnings)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "count"),
    [
        ("http://crm.example", 1),
        ("https://crm.example", 0),
        ("http://127.0.0.1:8080", 0),
        ("http://localhost", 0),
        ("sandbox", 0),
    ],
)
def test_an_address_without_tls_is_warned_of(tmp_path: Path, url: str, count: int) -> None:
    assert warnings(tmp_path, url=url) == count


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY"])
def test_a_proxy_of_the_environment_is_not_ignored_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://proxy.example:3128")
    assert warnings(tmp_path, url="https://crm.example") == 1
    assert warnings(tmp_path, url="https://crm.example", proxy="http://proxy.example:3128") == 0
    assert warnings(tmp_path, url="https://127.0.0.1") == 0
    monkeypatch.setenv("no_proxy", "crm.example")
    assert warnings(tmp_path, url="https://crm.example") == 0


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", ".".join(["a" * 60] * 5)])
@pytest.mark.parametrize("key", ["url", "proxy"])
def test_a_name_that_no_host_can_have_is_an_error_of_its_key(tmp_path: Path, key: str, host: str) -> None:
    tables = {
        "job": {"name": "test"},
        "endpoint": {"url": "https://a.example", "token": "env:TOKEN", key: f"http://{host}:81"},
        "input": {"path": "people.csv"},
        "request": {"id": 12, "email": "{email}"},
    }
    with pytest.raises(JobError, match=rf"endpoint\.{key}"):
        build_job(tables, base=tmp_path)


@pytest.mark.parametrize(
    ("scheduler", "insecure", "taken"),
    [
        ("tcp://scheduler.example:8786", False, False),
        ("tcp://10.0.0.5:8786", False, False),
        ("tcp://10.0.0.5:8786", True, True),
        ("tcp://127.0.0.1:8786", False, True),
        ("tls://10.0.0.5:8786", True, False),  # without certificates
    ],
)
def test_a_scheduler_without_tls_is_on_this_machine(
    tmp_path: Path, scheduler: str, insecure: bool, taken: bool
) -> None:
    tables = {
        "job": {"name": "t"},
        "endpoint": {"url": "https://crm.example", "token": "env:ENGAGER_TEST_TOKEN"},
        "input": {"path": "people.csv"},
        "request": {"id": 1, "email": "{email}"},
        "cluster": {"scheduler": scheduler, "insecure": insecure},
    }
    if taken:
        assert build_job(tables, base=tmp_path).job.cluster.scheduler == scheduler
        return
    with pytest.raises(JobError, match="cluster"):
        build_job(tables, base=tmp_path)
