"""Parts of the journal that the worker could not read, remembered over restarts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from assay.clock import Clock
from assay.records import Gap

log = logging.getLogger("assay.worker")

SHOWN: Final = 20
TOLD_MS: Final = 24 * 3_600_000
"""How long a gap is told of: nothing closes it, its records never came to the tables."""


class Gaps:
    """Counts the gaps that the loop went over.

    Parameters
    ----------
    clock : Clock
    before : mapping or None
        The document that a worker before this one left.
    examine : callable
        Given where each gap begins, before anybody goes on behind it: a damaged segment is to be
        kept. Its errors end the reading, so the gap is met again.
    """

    def __init__(
        self,
        clock: Clock,
        before: Mapping[str, Any] | None,
        examine: Callable[[int], None] = lambda _position: None,
    ) -> None:
        self._clock, self._examine = clock, examine
        self._count = int((before or {}).get("gaps") or 0)
        self._newest: list[dict[str, Any]] = list((before or {}).get("newest_gaps") or [])

    def add(self, gap: Gap) -> None:
        """Take note of a gap; one that is known is not counted again."""
        self._examine(gap.position)
        found = {"position": gap.position, "position_after": gap.position_after, "why": gap.why}
        if any(gap.position == known["position"] for known in self._newest):
            return
        log.error("the journal cannot be read from %d to %d: %s", *found.values())
        self._count += 1
        self._newest = [*self._newest, found | {"at_ms": self._clock.now_ms()}][-SHOWN:]

    def document(self) -> dict[str, Any]:
        """Return how many there were, and the newest of the last 24 hours."""
        since_ms = self._clock.now_ms() - TOLD_MS
        self._newest = [gap for gap in self._newest if gap["at_ms"] >= since_ms]
        return {"gaps": self._count, "newest_gaps": self._newest}
