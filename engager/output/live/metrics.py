"""A snapshot in, metrics for Prometheus out. No key, no row and no text of anybody's is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from engager.events import Snapshot
from engager.store.tally import Histogram

#: Upper bounds of the latency's buckets, in seconds.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, inf)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class RunCollector(Collector):
    """Reads the run when it is asked."""

    def __init__(self, labels: dict[str, str], look: Callable[[], tuple[Snapshot, Histogram]]) -> None:
        self._labels, self._look = labels, look

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """The run as it is."""
        now, latency = self._look()
        info = GaugeMetricFamily("engager_run_info", "The run.", labels=list(self._labels))
        info.add_metric(list(self._labels.values()), 1)
        yield info
        yield _labelled("engager_rows", "Rows that have an outcome.", "status", dict(now.statuses))
        yield CounterMetricFamily("engager_tries", "Tries of settled rows.", value=now.attempts)
        yield CounterMetricFamily("engager_retries", "Tries beyond the first.", value=now.retries)
        yield CounterMetricFamily(
            "engager_duplicates", "Rows whose answer was marked as a repeat.", value=now.duplicates
        )
        yield GaugeMetricFamily("engager_in_flight", "Requests without an answer yet.", value=now.in_flight)
        if now.rate is not None:
            yield GaugeMetricFamily("engager_rate_limit", "Requests a second that may leave.", value=now.rate)
        if now.total is not None:
            left = max(0, now.total - now.rows)
            yield GaugeMetricFamily("engager_rows_remaining", "Rows without an outcome, about.", value=left)
        held = GaugeMetricFamily("engager_held", "Who wants nothing to leave.", labels=["holder"])
        for holder in ("operator", "window", "breaker", "endpoint"):
            held.add_metric([holder], holder in now.holders)
        yield held
        yield _latency(latency)


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _latency(latency: Histogram) -> HistogramMetricFamily:
    counts = latency.below([row_limit * 1000 for row_limit in BOUNDS])
    buckets = [
        ("+Inf" if row_limit == inf else str(row_limit), float(count))
        for row_limit, count in zip(BOUNDS, counts, strict=True)
    ]
    text = "Seconds from when a row's last try was due to its end."
    return HistogramMetricFamily(
        "engager_try_latency_seconds", text, buckets=buckets, sum_value=latency.total / 1000
    )


def exposition(labels: dict[str, str], look: Callable[[], tuple[Snapshot, Histogram]]) -> bytes:
    """The metrics of a run, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(RunCollector(labels, look))
    return generate_latest(registry)
