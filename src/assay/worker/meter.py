"""What the worker measures of itself, as Prometheus metrics and as a document for people."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary, generate_latest

from assay.records import Stretch

_JOURNAL_GAUGES: Final = {
    "state_ok": "1 while the feature state is kept and equals the scorer's",
    "state_mismatch": "1 while the feature state differs from the scorer's",
    "state_checked_rows": "feature rows compared since the state was begun",
    "state_checks": "pieces of the state compared since it was begun",
    "state_position": "where the journal is folded on",
    "state_behind_seconds": "age of the newest record that is folded, while there are newer ones",
    "snapshot_position": "what the newest snapshot holds",
    "snapshot_bytes": "size of the newest snapshot",
    "snapshot_seconds": "how long the newest snapshot took",
    "segments_sealed": "segments compressed since the start",
    "segments_dropped": "segments deleted since the start, for their age",
    "segments_quarantined": "segments that are damaged",
    "gaps": "parts of the journal that could not be read",
}

STUCK_S: Final = 10.0
"""A loop that has not turned for so long is stuck."""


class Meter:
    """Counts what the loop does; any thread may read it.

    Parameters
    ----------
    starts : int
        How often a worker has started on this workspace, this time included.

    Attributes
    ----------
    records : int
        Journal records read since the start.
    """

    def __init__(self, starts: int) -> None:
        self._registry = CollectorRegistry()
        self._records = self._counter("records", "journal records read, by kind", "kind")
        self._loop = Summary(
            "assay_worker_loop_seconds", "time of a turn that read", registry=self._registry
        )
        self._flush = Summary(
            "assay_worker_flush_seconds",
            "time to make durable what was taken",
            ["consumer"],
            registry=self._registry,
        )
        self._labels = self._gauge("labels", "label reports by state", "state")
        self._positions = self._gauge("consumer_position", "durable in a consumer", "consumer")
        self._position = self._gauge("position", "where the journal is read on")
        self._behind = self._gauge("behind_bytes", "journal bytes not read yet")
        self._last_turn = self._gauge("last_turn_timestamp_seconds", "when the loop turned last")
        self._scorer_up = self._gauge("scorer_up", "1 while the scorer answers")
        self._journal = {name: self._gauge(name, text) for name, text in _JOURNAL_GAUGES.items()}
        self._counter("starts", "workers started on this workspace").inc(starts)
        self._turned_s = time.monotonic()
        self.records = 0

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"assay_worker_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"assay_worker_{name}", text, labels, registry=self._registry)

    def took(self, stretch: Stretch) -> None:
        """Count what a stretch holds."""
        held = {
            "decision": len(stretch.transaction_ids),
            "report": len(stretch.reports),
            "label": len(stretch.labels),
            "switch": len(stretch.switches),
            "check": len(stretch.checks),
        }
        for kind, count in held.items():
            self._records.labels(kind).inc(count)
            self.records += count

    def turned(self, took_s: float, position: int, *, read: bool) -> None:
        """Note that the loop has turned."""
        self._turned_s = time.monotonic()
        self._last_turn.set_to_current_time()
        self._position.set(position)
        if read:
            self._loop.observe(took_s)

    def flushed(self, consumer: str, took_s: float, position: int) -> None:
        """Note that a consumer has committed."""
        self._turned_s = time.monotonic()  # each alone may take seconds; none may take ten
        self._flush.labels(consumer).observe(took_s)
        self._positions.labels(consumer).set(position)

    def state(self, behind_bytes: int, labels: Mapping[str, int], *, scorer_up: bool) -> None:
        """Note what is told once a second."""
        self._behind.set(behind_bytes)
        self._scorer_up.set(scorer_up)
        for name, count in labels.items():
            self._labels.labels(name).set(count)

    def journal(self, document: Mapping[str, Any]) -> None:
        """Note what is known of the journal's files and of the feature state."""
        snapshot = document.get("snapshot") or {}
        values = {
            "state_ok": document.get("state") in {"ok", "behind"},
            "state_mismatch": document.get("state") == "mismatch",
            "state_checked_rows": document.get("checked_rows"),
            "state_checks": document.get("checks"),
            "state_position": document.get("position"),
            "state_behind_seconds": document.get("behind_s"),
            "snapshot_position": snapshot.get("position"),
            "snapshot_bytes": snapshot.get("bytes"),
            "snapshot_seconds": snapshot.get("took_s"),
            "segments_sealed": document.get("sealed"),
            "segments_dropped": document.get("dropped"),
            "segments_quarantined": len(document.get("quarantined") or ()),
            "gaps": document.get("gaps"),
        }
        for name, value in values.items():
            self._journal[name].set(value or 0)

    def health(self) -> dict[str, Any]:
        """Return the state that ``GET /health`` gives."""
        idle_s = time.monotonic() - self._turned_s
        status = "ok" if idle_s < STUCK_S else "stuck"
        return {"status": status, "turned_s_ago": round(idle_s, 3)}

    def text(self) -> bytes:
        """Return all metrics in Prometheus' format."""
        return generate_latest(self._registry)
