"""The statistics of a run."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from engager.models import Outcome, Row, Status
from engager.reader.outcome_fields import result_fields
from engager.store.tally import Histogram, Recount, Tally


def line(status: Status, error: str | int | None = None, **fields: object) -> dict[str, Any]:
    outcome = Outcome(Row(1, 2, "people.csv", []), "key", status, error=error, **fields)  # type: ignore[arg-type]
    return result_fields(outcome, str)


def test_percentiles_are_exact_to_about_one_percent() -> None:
    histogram = Histogram()
    draw = random.Random(2)
    values = [draw.lognormvariate(3, 1) for _ in range(10_000)]
    histogram.add(values)
    ordered = sorted(values)
    for share in (0.5, 0.95, 0.99):
        assert histogram.percentile(share) == pytest.approx(ordered[int(share * 10_000) - 1], rel=0.012)


def test_an_empty_histogram_has_no_percentiles() -> None:
    assert Histogram().as_dict() == {"p50": None, "p95": None, "p99": None}


def test_the_counts_add_up() -> None:
    tally = Tally()
    tally.count([line(Status.ENGAGED, 0, attempts=3, latency_ms=5.0, duplicate=True)])
    tally.count([line(Status.REJECTED, 400, attempts=1)])
    tally.count([line(Status.INVALID, "malformed")])
    statistics = tally.as_dict()
    assert statistics["rows"] == 3 == sum(statistics["statuses"].values())
    assert (statistics["attempts"], statistics["duplicates"]) == (4, 1)
    assert {(e["status"], e["error"], e["rows"]) for e in statistics["errors"]} == {
        ("rejected", 400, 1),
        ("invalid", "malformed", 1),
    }


def test_the_reasons_of_a_skip_follow_the_errors() -> None:
    tally = Tally()
    tally.count([line(Status.SKIPPED, "repeat")] * 5)
    tally.count([line(Status.REJECTED, 400)])
    tally.count([line(Status.FAILED, "timeout")] * 2)
    assert [error["error"] for error in tally.as_dict()["errors"]] == ["timeout", 400, "repeat"]


def test_the_number_of_kinds_of_errors_is_bounded() -> None:
    tally = Tally()
    for code in range(10_000):
        tally.count([line(Status.REJECTED, code)])
    assert len(tally.errors) <= 201
    assert tally.errors.total() == 10_000


def test_a_restored_tally_continues() -> None:
    tally = Tally()
    tally.count([line(Status.ENGAGED, 0, attempts=3, latency_ms=5.0, waited_ms=0.2, duplicate=True)])
    tally.count([line(Status.REJECTED, 400, attempts=1)])
    other = Tally.restored(orjson.loads(orjson.dumps(tally.state())))
    assert other.as_dict() == tally.as_dict()
    other.count([line(Status.REJECTED, 400, attempts=1)])
    assert other.errors[Status.REJECTED, "400"] == 2


def test_parts_add_up_to_the_whole() -> None:
    lines = [
        line(Status.ENGAGED, 0, attempts=n % 3 + 1, latency_ms=float(n), waited_ms=0.1) for n in range(1, 50)
    ] + [line(Status.REJECTED, code, attempts=1) for code in (400, 400, 440)]
    whole, parts = Tally(), [Tally(), Tally(), Tally()]
    for index, one in enumerate(lines):
        whole.count([one])
        parts[index % 3].count([one])
    merged = Tally()
    for part in parts:
        merged.merge(part)
    assert merged.as_dict() == whole.as_dict()


@pytest.mark.parametrize("damaged", ["status", "attempts", "latency_ms", "waited_ms", "row"])
def test_a_damaged_line_is_not_counted_in_part(damaged: str) -> None:
    tally = Tally()
    before = tally.state()
    with pytest.raises((ValueError, TypeError)):
        tally.count([{**line(Status.REJECTED, 400, attempts=1), damaged: ["x"]}])
    assert (tally.state(), tally.samples) == (before, {})


def test_the_rows_of_a_batch_are_one_sample_of_its_times_wherever_their_lines_are() -> None:
    def of_batch(number: int, status: Status) -> dict[str, Any]:
        times = {"latency_ms": 100.0 * number, "waited_ms": 1.0 * number}
        return line(status, 0, attempts=1, request_id=f"batch {number}", **times)

    engaged = [of_batch(number, Status.ENGAGED) for number in range(1, 65) for _ in range(50)]
    rejected = [of_batch(number, Status.REJECTED) for number in range(1, 65)]
    together, apart = Tally(), Tally()
    together.count([*engaged, *rejected])
    for one in [*engaged, *rejected]:
        apart.count([one])
    assert together.rows == together.attempts == 64 * 51
    assert (together.latency.count, together.waited.count) == (64, 64)
    assert together.latency.percentile(0.5) == pytest.approx(3200.0, rel=0.01)
    assert apart.as_dict() == together.as_dict()


def test_a_run_of_an_earlier_version_made_a_request_for_each_attempt() -> None:
    tally = Tally()
    tally.count([line(Status.ENGAGED, 0, attempts=3)])
    state = tally.state()
    del state["requests"]
    assert Tally.restored(state).requests == 3


DAMAGED: list[tuple[str, object]] = [
    ("status", "engagfd"),
    ("attempts", "1"),
    ("duplicate", None),
    ("request_id", ["id"]),
    ("error_text", 7),
    ("latency_ms", "5"),
    ("waited_ms", float("nan")),
    ("latency_ms", float("inf")),
]


def test_lines_that_are_read_again_count_as_before() -> None:
    draw, tally, recount = random.Random(4), Tally(), Recount()
    for number in range(3000):
        status = draw.choice(list(Status))
        one = line(
            status, status.value, attempts=1, latency_ms=draw.uniform(0, 90), request_id=f"{number // 2}"
        )
        tally.count([one])
        assert recount.add(one)
    assert recount.tally.state() == tally.state()


@pytest.mark.parametrize(("name", "value"), DAMAGED)
def test_a_damaged_line_does_not_count(name: str, value: object) -> None:
    recount = Recount()
    assert recount.add(line(Status.REJECTED, 400, attempts=1))
    assert not recount.add(line(Status.REJECTED, 400, attempts=1) | {name: value})
    assert recount.tally.statuses == {Status.REJECTED: 1}
