"""Time that passes evenly, whatever the machine's wall clock is set to meanwhile."""

from __future__ import annotations

import logging
import time
from typing import Final

from assay.clock import Clock

log = logging.getLogger("assay.journal")

STEP_MS: Final = 300_000
"""How far the wall clock may be set forward or back before it is told."""


class SteadyTime:
    """The wall clock's time at the start, and what has passed since on the steady one.

    A wall clock that is set forward by a day must not make a day's ids forgotten.

    Parameters
    ----------
    clock : Clock

    Attributes
    ----------
    steps : int
        How often the wall clock was found set forward or back by more than five minutes.
    """

    def __init__(self, clock: Clock) -> None:
        self._offset_ms = clock.now_ms() - _boot_ms()
        self._step_ms = 0
        self.steps = 0

    def now_ms(self) -> int:
        """Return UTC milliseconds."""
        return self._offset_ms + _boot_ms()

    def compare(self, wall_ms: int) -> None:
        """Tell if the wall clock was set since the last comparison."""
        step_ms = wall_ms - self.now_ms()
        if abs(step_ms - self._step_ms) > STEP_MS:
            log.error(
                "the machine's clock was set %s by %d s; arrivals keep their order",
                "forward" if step_ms > self._step_ms else "back",
                abs(step_ms - self._step_ms) // 1000,
            )
            self._step_ms = step_ms
            self.steps += 1


def _boot_ms() -> int:
    """Return milliseconds since the machine started, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
