"""Watches how full the journal's disk is, cheaply enough to be asked for each request."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

log = logging.getLogger("assay.journal")

_LOOK_EVERY_NS: Final = 50_000_000
_CALM_PERCENT: Final = 1.0
"""How far below the alarm it must fall before another alarm is told."""


class DiskWatch:
    """Looks at the free space at most every 50 ms, and tells an alarm once.

    Parameters
    ----------
    free : callable
        Returns the free bytes and all bytes of the disk.
    reserve_bytes : int
        With less free, the journal takes nothing more.
    alarm_percent : int
        How much may be used before there is an alarm.
    """

    def __init__(
        self, free: Callable[[], tuple[int, int]], reserve_bytes: int, alarm_percent: int
    ) -> None:
        self._free, self._reserve_bytes, self._alarm_percent = free, reserve_bytes, alarm_percent
        self._looked_ns = 0
        self._free_bytes, self._used_percent, self._alarm = 0, 0.0, False

    def full(self) -> bool:
        """Tell whether less than the reserve is free."""
        now_ns = time.monotonic_ns()
        if not self._looked_ns or now_ns - self._looked_ns >= _LOOK_EVERY_NS:
            self._looked_ns = now_ns
            self._look()
        return self._free_bytes < self._reserve_bytes

    def document(self) -> dict[str, Any]:
        """Return ``used_percent``, ``free_bytes``, and whether it is an ``alarm`` or ``full``."""
        full = self.full()
        return {
            "used_percent": round(self._used_percent, 1),
            "free_bytes": self._free_bytes,
            "alarm": self._alarm,
            "full": full,
        }

    def _look(self) -> None:
        self._free_bytes, total = self._free()
        self._used_percent = 100 * (1 - self._free_bytes / total) if total else 100.0
        limit = self._alarm_percent - (_CALM_PERCENT if self._alarm else 0)
        alarm = self._used_percent >= limit
        if alarm and not self._alarm:
            log.error(
                "the journal's disk is %.0f %% full, %d MB are free; make room before requests "
                "are refused",
                self._used_percent,
                self._free_bytes >> 20,
            )
        self._alarm = alarm
