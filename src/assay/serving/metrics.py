"""The scorer's counters as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_COUNTERS: Final = {
    "decisions": "Transactions decided.",
    "repeats": "Transactions sent again and answered from the journal.",
    "conflicts": "Transaction ids sent again with another body.",
    "refused": "Requests refused because too much was waiting.",
    "errors": "Requests that the scorer failed to answer.",
    "late": "Events too far behind the newest to enter their windows.",
    "future": "Events too far ahead of their arrival to enter their windows.",
    "batches": "Batches decided.",
    "commits": "Groups written to the journal, each with one sync.",
    "label_reports": "Label reports journalled.",
    "labels": "Labels journalled with their transactions.",
    "switches": "Releases that went live while serving.",
    "checks": "Hashes of a piece of the feature state that were journalled.",
    "clock_steps": "Times that the machine's clock was set forward or back.",
    "ids_expired": "Transaction ids that came again too late to be known.",
    "ids_dropped": "Transaction ids forgotten.",
    "entities_refused": "Entities not kept because a bound was reached.",
    "entity_events_refused": "Events not kept because a bound was reached.",
}
_FAMILIES: Final = {
    "actions": ("action", "Decisions by action."),
    "modes": ("mode", "Decisions by rung of the ladder."),
    "failures": ("part", "Batches for which a part failed and the next rung answered."),
}


class Metrics:
    """Renders counters in the text format.

    Parameters
    ----------
    counts : callable
        Returns what ``/v1/counters`` tells, and the sum of latencies as ``latency_sum_ms``.
    health : callable
        Returns what ``/health`` tells.
    """

    def __init__(
        self, counts: Callable[[], Mapping[str, Any]], health: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collected(counts, health))

    def render(self) -> bytes:
        """Return the metrics as text."""
        return generate_latest(self._registry)


class _Collected(Collector):
    def __init__(
        self, counts: Callable[[], Mapping[str, Any]], health: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._counts, self._health = counts, health

    def describe(self) -> list[Metric]:
        """Return nothing: the counters are asked when somebody wants them."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        counts, health = self._counts(), self._health()
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"assay_{name}", text, counts[name])
        for name, (label, text) in _FAMILIES.items():
            family = CounterMetricFamily(f"assay_{name}", text, labels=[label])
            for value, count in counts[name].items():
                family.add_metric([value], count)
            yield family
        yield _latency(counts)
        yield GaugeMetricFamily("assay_waiting", "Transactions waiting.", counts["waiting"])
        yield GaugeMetricFamily("assay_up", "1 while the scorer runs.", _flag(health, "ok"))
        yield from _journal(health)
        yield GaugeMetricFamily(
            "assay_start_time_seconds", "When it started.", health["started_ms"] / 1000
        )
        yield GaugeMetricFamily("assay_revision", "Request in force.", health["revision"])
        yield GaugeMetricFamily(
            "assay_request_refused",
            "1 while the newest request cannot go live.",
            int(health["refused"] is not None),
        )
        names = ("model", "policy", "feature_set", "runtime")
        yield InfoMetricFamily(
            "assay_release", "Versions in force.", {name: health[name] for name in names}
        )


def _journal(health: Mapping[str, Any]) -> Iterator[Metric]:
    disk = health["disk"]
    yield GaugeMetricFamily(
        "assay_journal_stalled",
        "1 while nothing new can be journalled, and so nothing decided.",
        int(health["stalled"] is not None),
    )
    yield GaugeMetricFamily(
        "assay_disk_used_ratio", "Of the journal's disk.", disk["used_percent"] / 100
    )
    yield GaugeMetricFamily("assay_disk_free_bytes", "Of the journal's disk.", disk["free_bytes"])


def _flag(health: Mapping[str, Any], wanted: str) -> int:
    return int(health["status"] == wanted)


def _latency(counts: Mapping[str, Any]) -> HistogramMetricFamily:
    document = counts["latency_ms"]
    bounds = [*(str(bound / 1000) for bound in document["le"]), "+Inf"]
    buckets = list(zip(bounds, document["counts"], strict=True))
    return HistogramMetricFamily(
        "assay_decision_seconds",
        "Server time of decisions.",
        buckets,
        counts["latency_sum_ms"] / 1000,
    )
