"""Watches the scorer: is it up, since when, and what does it count."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from assay.clock import Clock
from assay.errors import UnavailableError
from assay.worker.ports import Scorer

POLL_S: Final = 1.0

Reading = tuple[dict[str, Any], int]
"""A document of counters, and when it was read."""


class ScorerWatch:
    """Asks the scorer once a second, in a thread of its own, so that nobody waits for it.

    Parameters
    ----------
    scorer : Scorer
    clock : Clock
    before : mapping or None
        The document that a worker before this one left.

    Attributes
    ----------
    document : dict
        ``up``, ``since_ms`` (wall time at which it went up or down), and what its health said
        last. A worker's restart does not change since when.
    """

    def __init__(self, scorer: Scorer, clock: Clock, before: Mapping[str, Any] | None) -> None:
        self._scorer, self._clock = scorer, clock
        self.document: dict[str, Any] = dict(before or {})
        self._reading: Reading | None = None

    def run(self, stop: threading.Event) -> None:
        """Poll until told to stop."""
        while not stop.is_set():
            self.poll()
            stop.wait(POLL_S)

    def poll(self) -> None:
        """Ask once."""
        try:
            health = self._scorer.health()
            up = health.get("status") == "ok"
            if up:
                self._reading = (self._scorer.counters(), self._clock.now_ms())
        except UnavailableError:
            health, up = {"status": "down"}, False
        document = self.document | health
        since_ms = self.document.get("since_ms")
        if self.document.get("up") is not up or not isinstance(since_ms, int):
            since_ms = self._clock.now_ms()
        self.document = document | {"up": up, "since_ms": since_ms}

    def reading(self) -> Reading | None:
        """Return the newest counters, once."""
        reading, self._reading = self._reading, None
        return reading
