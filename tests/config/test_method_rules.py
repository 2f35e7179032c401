"""What the method of a job demands of it, and what a job with another method may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engager import JobError, build_job
from engager.altcraft.methods import METHODS
from engager.config.job import JobFile
from engager.config.method_rules import people_at_rate

BATCH = "import_and_start_batch"
ONE_ROW = [name for name, method in METHODS.items() if not method.is_batch]
MANY_ROWS = [name for name, method in METHODS.items() if method.is_batch]
SUBSCRIPTIONS = [{"channel": "email", "email": "{email}"}]


def job(method: str = BATCH, *, request: dict[str, Any] | None = None, **sections: Any) -> JobFile:
    tables = {
        "job": {"name": "test"},
        "endpoint": {"url": "sandbox"},
        "input": {"path": "people.csv"},
        "request": {"method": method, METHODS[method].scenario: 12, "email": "{email}", **(request or {})},
        **sections,
    }
    return build_job(tables)


@pytest.mark.parametrize("method", ONE_ROW)
@pytest.mark.parametrize("key", ["rows", "bytes", "split", "content_by_row"])
def test_batches_are_refused_with_a_method_that_carries_one_row(method: str, key: str) -> None:
    value = {"rows": 5, "bytes": 5000}.get(key, True)
    with pytest.raises(JobError, match=rf"^batch\.{key}: "):
        job(method, batch={key: value})
    assert job(method, batch={}).job.rows_per_request == 1


@pytest.mark.parametrize("method", MANY_ROWS)
def test_a_job_with_batches_has_defaults_of_its_own(method: str) -> None:
    made = job(method).job
    assert (made.limits.max_in_flight, made.endpoint.timeout, made.rows_per_request) == (8, 120, 500)
    given = job(method, limits={"concurrency": 4}, endpoint={"url": "sandbox", "timeout": 5}).job
    assert (given.limits.max_in_flight, given.endpoint.timeout) == (4, 5)


@pytest.mark.parametrize("method", ONE_ROW)
def test_a_job_with_one_row_a_request_keeps_its_defaults(method: str) -> None:
    made = job(method).job
    assert (made.limits.max_in_flight, made.endpoint.timeout) == (64, 30)


@pytest.mark.parametrize(
    ("batch", "limits", "key"),
    [
        ({"rows": 8192}, {"concurrency": 8}, None),
        ({"rows": 8193}, {"concurrency": 8}, "batch.rows"),
        ({"rows": 500}, {"concurrency": "auto"}, "batch.rows"),
        ({"rows": 500}, {"concurrency": "auto", "max_concurrency": 131}, None),
        ({"rows": 1, "bytes": 10_000_000}, {"concurrency": 25}, None),
        ({"rows": 1, "bytes": 10_000_000}, {"concurrency": 26}, "batch.bytes"),
    ],
)
def test_what_is_in_flight_has_a_bound(batch: Any, limits: Any, key: str | None) -> None:
    if key is None:
        assert job(batch=batch, limits=limits)
        return
    with pytest.raises(JobError, match=f"^{key}: "):
        job(batch=batch, limits=limits)


@pytest.mark.parametrize(
    ("rate", "rows", "facts"),
    [
        (2, 500, ["2 requests", "1,000 people"]),
        (0.5, 500, ["0.5 requests", "250 people"]),
        (0.5, 1, ["0.5 people"]),
    ],
)
def test_what_a_rate_means_for_people(rate: float, rows: int, facts: list[str]) -> None:
    text = people_at_rate(job(limits={"rate": rate}, batch={"rows": rows}).job)
    assert text is not None
    assert all(fact in text for fact in facts)


@pytest.mark.parametrize("made", [("start", 2), (BATCH, None), (BATCH, "auto")])
def test_no_rate_that_is_known_says_nothing_of_people(made: tuple[str, Any]) -> None:
    limits = {"limits": {"rate": made[1]}} if made[1] else {}
    assert people_at_rate(job(made[0], **limits).job) is None


@pytest.mark.parametrize("method", ["import", 5, None])
def test_an_unknown_method_is_refused_with_the_known_ones(method: Any, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"request\.method: .*import_and_start_batch"):
        job(request={"method": method})


def test_an_error_has_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(
        '[job]\nname = "t"\n[endpoint]\nurl = "sandbox"\n[input]\npath = "a.csv"\n'
        '[request]\nid = 1\nemail = "{email}"\n[batch]\nrows = 5\n'
    )
    with pytest.raises(JobError, match=r"job\.toml:11: batch\.rows: "):
        JobFile(path)


@pytest.mark.parametrize(
    ("request_", "mode", "facts"),
    [
        ({"data": {"subscriptions": SUBSCRIPTIONS}, "skip_triggers": False}, "exactly-once", []),
        ({"data": "{everything:json}", "skip_triggers": True}, "exactly-once", []),
        ({"skip_triggers": True}, "exactly-once", ["subscriptions"]),
        ({"data": {"_fname": "{a}"}, "skip_triggers": True}, "exactly-once", ["subscriptions"]),
        ({"data": {"subscriptions": SUBSCRIPTIONS}}, "exactly-once", ["skip_triggers"]),
        (
            {"matching": "profile_id", "profile_id": "{id}", "skip_triggers": True},
            "exactly-once",
            ["profile_id"],
        ),
        (
            {
                "data": {"subscriptions": SUBSCRIPTIONS, "n": {"action": "incr", "value": 1}},
                "skip_triggers": True,
            },
            "at-least-once",
            ["incr"],
        ),
        (
            {
                "data": {"subscriptions": SUBSCRIPTIONS, "n": {"action": "incr", "value": 1}},
                "skip_triggers": True,
            },
            "exactly-once",
            [],
        ),
        (
            {"data": {"subscriptions": SUBSCRIPTIONS, "n": {"action": "unset"}}, "skip_triggers": True},
            "at-least-once",
            [],
        ),
    ],
)
@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.is_import])
def test_what_may_be_a_mistake_is_warned_of(
    request_: dict[str, Any], mode: str, facts: list[str], method: str
) -> None:
    warnings = job(method, request=request_, delivery={"mode": mode}).warnings
    assert len(warnings) == len(facts)
    assert all(fact in warning for fact, warning in zip(facts, warnings, strict=True))


def test_start_is_warned_of_nothing() -> None:
    assert job("start").warnings == []
