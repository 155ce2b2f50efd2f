"""What Prometheus reads, by its own parser."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from assay.serving.counters import Counters
from assay.serving.latency import BOUNDS_MS, Latency
from assay.serving.metrics import Metrics

HEALTH: dict[str, Any] = {
    "status": "ok",
    "model": "m-1",
    "policy": "p",
    "feature_set": "f",
    "runtime": "r",
    "revision": 4,
    "refused": None,
    "started_ms": 1_700_000_000_500,
    "stalled": None,
    "disk": {"used_percent": 86.5, "free_bytes": 5_000, "alarm": True, "full": False},
}


def samples(latency: Latency, **health: Any) -> dict[tuple[str, ...], float]:
    counts = {
        **Counters(decisions=7).document(),
        "failures": {"model": 2, "rules": 0},
        "waiting": 3,
        "errors": 1,
        "entities_refused": 0,
        "entity_events_refused": 0,
        "ids_expired": 0,
        "ids_dropped": 0,
        "clock_steps": 0,
        "latency_ms": latency.document(),
        "latency_sum_ms": latency.sum_ms,
    }
    text = Metrics(lambda: counts, lambda: HEALTH | health).render().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_counter_is_told() -> None:
    """Counters, families by label, gauges and the versions in force come through the parser."""
    found = samples(Latency())
    assert found["assay_decisions_total",] == 7
    assert found["assay_failures_total", "model"] == 2
    assert found["assay_actions_total", "decline"] == 0
    assert found["assay_waiting",] == 3
    assert found["assay_start_time_seconds",] == 1_700_000_000.5
    assert found["assay_release_info", "f", "m-1", "p", "r"] == 1
    assert all(name[0].startswith("assay_") for name in found)


def test_a_failed_scorer_is_not_up() -> None:
    """State and a refused request are numbers that an alert can be made of."""
    assert samples(Latency())["assay_up",] == 1
    found = samples(Latency(), status="failed", refused={"revision": 5})
    assert (found["assay_up",], found["assay_request_refused",]) == (0, 1)


def test_latencies_lie_in_their_buckets() -> None:
    """Each latency is counted in every bucket that reaches it, a bound in its own, and in all."""
    latency = Latency()
    for took_ms in (0.1, 0.5, 0.51, 25.0, 60_000.0):
        latency.add(took_ms)
    document = latency.document()
    assert len(document["counts"]) == len(document["le"]) + 1 == len(BOUNDS_MS) + 1
    assert document["counts"][:2] == [2, 3]
    assert document["counts"][-2:] == [4, 5]
    found = samples(latency)
    assert found["assay_decision_seconds_bucket", "0.025"] == 4
    assert found["assay_decision_seconds_bucket", "+Inf"] == 5
    assert found["assay_decision_seconds_count",] == 5
