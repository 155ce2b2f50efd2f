"""What the console counts about itself, for Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Requests by route and status, their times, and the open event streams."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "assay_console_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "assay_console_request_seconds",
            "Time until the answer was sent; event streams are left out.",
            ("route",),
            buckets=_BOUNDS_S,
            registry=self._registry,
        )
        self.streams = Gauge(
            "assay_console_open_streams",
            "Browsers that follow the live page.",
            registry=self._registry,
        )

    def observe(self, route: str, method: str, status: int, seconds: float | None) -> None:
        """Count one answer; ``seconds`` is None where its length means nothing."""
        known = method if method in _METHODS else "other"  # a stranger may send any word
        self._requests.labels(route, known, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self._registry)
