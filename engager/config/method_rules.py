"""Rules of a job that depend on the method of its requests: what is refused, and what may be a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engager.altcraft.methods import METHODS, method_of
from engager.altcraft.profile_data import ACTION, NOT_REPEATABLE
from engager.config.job_sections import AUTO, Job
from engager.policies.delivery import Mode

#: Rows, and bytes, that are in flight at most.
MAX_ROWS_IN_FLIGHT = 65_536
MAX_BYTES_IN_FLIGHT = 256_000_000


def refusals_of_method(job: Job) -> Iterator[tuple[str, str]]:
    """What contradicts the method of a job: keys with texts."""
    if method_of(job.request) is None:
        yield "request.method", f"it must be one of {', '.join(METHODS)}"
        return
    if not job.method.is_batch:
        for key in sorted(job.batch.model_fields_set):
            many = ", ".join(name for name, method in METHODS.items() if method.is_batch)
            yield f"batch.{key}", f"{job.method.name} carries one row; request.method = {many} carry many"
        return
    yield from _too_much_in_flight(job)


def _too_much_in_flight(job: Job) -> Iterator[tuple[str, str]]:
    key = "max_concurrency" if job.limits.concurrency == AUTO else "concurrency"
    count = job.limits.max_in_flight
    for name, each, most in (
        ("rows", job.batch.rows, MAX_ROWS_IN_FLIGHT),
        ("bytes", job.batch.bytes, MAX_BYTES_IN_FLIGHT),
    ):
        if count * each > most:
            yield (
                f"batch.{name}",
                f"limits.{key} × batch.{name} is {count:,} × {each:,} = {count * each:,}, and at most "
                f"{most:,} may be in flight; set limits.{key} to at most {most // each}, or lower "
                f"batch.{name}",
            )


def people_at_rate(job: Job) -> str | None:
    """What `limits.rate` means for people; None without batches or without a fixed rate."""
    rate = job.limits.rate
    if not job.method.is_batch or rate is None or rate == AUTO:
        return None
    people = rate * job.batch.rows
    shown = f"{people:,.0f}" if people >= 10 else f"{people:g}"
    return f"limits.rate: at most {rate:g} requests and {shown} people a second"


def warnings_of_method(job: Job) -> Iterator[str]:
    """Settings of an import that are valid but may be a mistake."""
    if not job.method.is_import:
        return
    data = job.request.get("data", {})
    if job.request.get("matching") == "profile_id":
        yield 'request.matching = "profile_id" only updates: a person without a profile does not get one'
    elif isinstance(data, dict) and not data.get("subscriptions"):
        yield (
            "request.data has no subscriptions: a person whose profile the import creates has no address "
            "that anything is sent to"
        )
    if "skip_triggers" not in job.request:
        yield (
            "request.skip_triggers is not set: an import also fires the other triggers and scenarios of the "
            "base; true prevents that, false says that it is meant"
        )
    functions = sorted(set(_functions(data)) & NOT_REPEATABLE)
    if functions and job.delivery.mode is Mode.AT_LEAST_ONCE:
        yield (
            f"request.data has {', '.join(functions)}: a request that is repeated, as at-least-once allows, "
            "changes the value twice"
        )


def _functions(value: Any) -> Iterator[str]:
    """The names of the functions in data, at any depth."""
    if isinstance(value, dict):
        if isinstance(name := value.get(ACTION), str):
            yield name
        for part in value.values():
            yield from _functions(part)
    elif isinstance(value, list):
        for part in value:
            yield from _functions(part)
