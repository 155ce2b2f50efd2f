"""What the worker tells people once a second: the scorer's state, the journal's, and its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from assay.clock import Clock
from assay.worker.causes import Causes, journal_causes, scorer_causes
from assay.worker.meter import Meter
from assay.worker.ports import Follower, Live
from assay.worker.scorer_watch import ScorerWatch

BEHIND_BYTES: Final = 4 << 20
"""So much of the journal not read is more than what comes between two turns."""


class Status:
    """Writes the live documents ``scorer``, ``worker`` and ``journal``.

    Parameters
    ----------
    follower : Follower
    watch : ScorerWatch
    live : Live
    meter : Meter
    clock : Clock
    labels : callable
        Gives the label reports by state.
    on_reading : callable
        Given the scorer's counters, and when they were read (wall time).
    journal : callable
        Gives the document ``journal``.
    on_causes : callable
        Given what is wrong with the system itself, and what is in order.
    """

    def __init__(
        self,
        follower: Follower,
        watch: ScorerWatch,
        live: Live,
        meter: Meter,
        clock: Clock,
        *,
        labels: Callable[[], Mapping[str, int]],
        on_reading: Callable[[dict[str, Any], int], None],
        journal: Callable[[], dict[str, Any]],
        on_causes: Callable[[Causes], None],
    ) -> None:
        self._follower, self._watch, self._live = follower, watch, live
        self._meter, self._clock, self._labels = meter, clock, labels
        self._on_reading, self._journal, self._on_causes = on_reading, journal, on_causes
        self._behind_since_ms: int | None = None
        self._own: dict[str, Any] = {
            "up": True,
            "since_ms": clock.now_ms(),
            "behind_since_ms": None,
        }

    def tell(self) -> None:
        """Hand the newest counters and causes on, and replace the documents."""
        if (reading := self._watch.reading()) is not None:
            self._on_reading(*reading)
        behind, labels = self._follower.behind_bytes(), self._labels()
        if behind < BEHIND_BYTES:
            self._behind_since_ms = None
        elif self._behind_since_ms is None:
            self._behind_since_ms = self._clock.now_ms()
        scorer = self._watch.document
        self._meter.state(behind, labels, scorer_up=scorer.get("up") is True)
        self._own |= {
            "position": self._follower.position,
            "records": self._meter.records,
            "behind_bytes": behind,
            "behind_since_ms": self._behind_since_ms,
            "labels": dict(labels),
        }
        journal = self._of_journal()
        self._meter.journal(journal)
        self._on_causes(journal_causes(journal) | scorer_causes(scorer))
        documents = {"worker": self._own, "journal": journal}
        self._live.write(documents | ({"scorer": scorer} if scorer else {}))

    def leave(self) -> None:
        """Say that this worker has stopped."""
        self._own |= {"up": False, "since_ms": self._clock.now_ms()}
        self._live.write({"worker": self._own, "journal": self._of_journal()})

    def _of_journal(self) -> dict[str, Any]:
        return self._journal() | {"disk": self._watch.document.get("disk")}
