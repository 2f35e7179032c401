"""Who sends: this process, others of this machine, or a cluster that is safe to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engager import JobError, JobFile, build_job
from engager.config.job_sections import is_loopback

TLS = {"scheduler": "tls://scheduler:8786", "ca_file": "ca.pem", "cert": "c.pem", "key": "c.key"}


def job(folder: Path, **tables: Any) -> JobFile:
    whole: dict[str, Any] = {
        "job": {"name": "t"},
        "endpoint": {"url": "https://crm.example", "token": "env:ENGAGER_TEST_TOKEN"},
        "input": {"path": "people.csv"},
        "request": {"id": 1, "email": "{email}"},
    }
    for name, table in tables.items():
        whole[name] = whole.get(name, {}) | table
    return build_job(whole, base=folder)


@pytest.mark.parametrize(("processes", "is_remote"), [(1, False), (2, True), (64, True), ("auto", True)])
def test_more_processes_than_one_are_remote(processes: Any, is_remote: bool, tmp_path: Path) -> None:
    assert job(tmp_path, limits={"processes": processes}).job.is_remote == is_remote


@pytest.mark.parametrize("processes", [0, -1, 65, 2.0, True, "2", "many"])
def test_a_number_of_processes_that_cannot_be_is_refused(processes: Any, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"limits\.processes"):
        job(tmp_path, limits={"processes": processes})


@pytest.mark.parametrize(
    "cluster",
    [
        TLS,
        {"scheduler": "tcp://127.0.0.1:8786"},
        {"scheduler": "tcp://localhost:8786"},
        {"scheduler": "tcp://[::1]:8786"},
        {"scheduler": "tcp://scheduler:8786", "insecure": True},
    ],
)
def test_a_cluster_that_is_safe_is_taken(cluster: dict[str, Any], tmp_path: Path) -> None:
    assert job(tmp_path, cluster=cluster).job.is_remote


@pytest.mark.parametrize(
    "cluster",
    [
        {"scheduler": "tcp://scheduler:8786"},
        {"scheduler": "tcp://127.0.0.1.example:8786"},
        {"scheduler": "tls://scheduler:8786"},
        {**TLS, "key": None},
        {"at_least": 2},
        {**TLS, "at_least": 0},
        {**TLS, "patience": "soon"},
        {**TLS, "scheduler": "scheduler:8786"},
        {**TLS, "scheduler": "tls://scheduler"},
        {**TLS, "scheduler": "tls://user@scheduler:8786"},
        {**TLS, "scheduler": "http://scheduler:8786"},
    ],
)
def test_a_cluster_that_is_not_safe_or_not_whole_is_refused(cluster: dict[str, Any], tmp_path: Path) -> None:
    given = {name: value for name, value in cluster.items() if value is not None}
    with pytest.raises(JobError, match="cluster"):
        job(tmp_path, cluster=given)


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"limits": {"processes": 2}}, r"limits\.processes"),
        ({"endpoint": {"url": "sandbox"}}, r"endpoint\.url"),
        ({"endpoint": {"proxy": "http://user:s3cret@proxy:3128"}}, r"endpoint\.proxy"),
    ],
)
def test_what_workers_cannot_do_is_refused(tables: dict[str, Any], key: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=key) as refused:
        job(tmp_path, cluster=TLS, **tables)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")],
        *[(host, False) for host in ("10.0.0.1", "localhost.example", "", "0.0.0.0")],
    ],
)
def test_this_machine_is_known_by_its_addresses(host: str, here: bool) -> None:
    assert is_loopback(host) == here
