"""Metrics for Prometheus from a snapshot of a run. They contain no key and no text of a row or a response."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from engager.events import SenderState, Snapshot
from engager.store.tally import Histogram

#: Upper bounds of the latency's buckets, in seconds.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, inf)

_HOLDERS = ("operator", "window", "breaker", "endpoint")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class RunCollector(Collector):
    """Reads the run when Prometheus scrapes it."""

    def __init__(self, labels: dict[str, str], read: Callable[[], tuple[Snapshot, Histogram]]) -> None:
        self._labels, self._read = labels, read

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """The metrics of this moment."""
        now, latency = self._read()
        about = "Job and run directory of the run."
        yield _gauge("engager_run_info", about, self._labels, [(self._labels.values(), 1)])
        yield _labelled("engager_rows", "Rows that have an outcome.", "status", dict(now.statuses))
        yield from _counters(now)
        yield from _gauges(now)
        paused = [((holder,), holder in now.holders) for holder in _HOLDERS]
        yield _gauge("engager_paused", "1 while this holder pauses the run.", ["holder"], paused)
        if now.senders:
            yield from _senders(now.senders)
        yield _latency(latency)


def _counters(now: Snapshot) -> Iterator[CounterMetricFamily]:
    for name, text, value in (
        ("engager_requests", "Requests that left, each as often as it was sent.", now.requests),
        ("engager_attempts", "Attempts of settled rows; that of a batch is one of each row.", now.attempts),
        ("engager_retries", "Attempts of settled rows after the first one of a row.", now.retries),
        ("engager_duplicates", "Rows whose response was marked as a repeat.", now.duplicates),
    ):
        yield CounterMetricFamily(name, text, value=value)


def _gauges(now: Snapshot) -> Iterator[GaugeMetricFamily]:
    remaining = None if now.total is None else max(0, now.total - now.rows)
    for name, text, value in (
        ("engager_in_flight", "Requests without a response yet.", now.in_flight),
        ("engager_rows_in_flight", "Rows of the requests without a response yet.", now.rows_in_flight),
        (
            "engager_oldest_in_flight_seconds",
            "Seconds since the first request without a response left; 0 without one.",
            now.oldest_in_flight_seconds or 0.0,
        ),
        ("engager_rate_limit", "Requests per second that may leave.", now.rate),
        ("engager_rows_remaining", "Rows without an outcome, approximately.", remaining),
    ):
        if value is not None:
            yield GaugeMetricFamily(name, text, value=value)


def _senders(senders: Sequence[SenderState]) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
    lost = sum(sender.lost for sender in senders)
    states = [(("present",), len(senders) - lost), (("lost",), lost)]
    yield _gauge("engager_senders", "Senders that are present, and that were lost.", ["state"], states)
    in_flight = [((sender.name,), sender.in_flight) for sender in senders]
    about = "Requests of a sender without an ending yet."
    yield _gauge("engager_sender_in_flight", about, ["sender"], in_flight)
    about, sent = "Requests whose endings a sender returned.", {one.name: one.sent for one in senders}
    yield _labelled("engager_sender_requests", about, "sender", sent)


def _gauge(
    name: str, text: str, labels: Iterable[str], values: Iterable[tuple[Iterable[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    for given, value in values:
        family.add_metric(list(given), value)
    return family


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _latency(latency: Histogram) -> HistogramMetricFamily:
    counts = latency.below([bound * 1000 for bound in BOUNDS])
    buckets = [
        ("+Inf" if bound == inf else str(bound), float(count))
        for bound, count in zip(BOUNDS, counts, strict=True)
    ]
    text = "Seconds from when the last attempt of a request was due to its end."
    return HistogramMetricFamily(
        "engager_attempt_latency_seconds", text, buckets=buckets, sum_value=latency.total / 1000
    )


def exposition(labels: dict[str, str], read: Callable[[], tuple[Snapshot, Histogram]]) -> bytes:
    """The metrics of a run, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(RunCollector(labels, read))
    return generate_latest(registry)
