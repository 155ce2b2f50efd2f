"""Time as a parameter: the system's clock, and one that tests turn by hand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Tells the wall-clock time."""

    def now_ms(self) -> int:
        """Return UTC milliseconds since 1970."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return UTC milliseconds since 1970."""
        return time.time_ns() // 1_000_000


@dataclass
class VirtualClock:
    """A clock that stands still until it is turned.

    Examples
    --------
    >>> clock = VirtualClock(1_000)
    >>> clock.advance(500)
    >>> clock.now_ms()
    1500
    """

    time_ms: int = 0

    def now_ms(self) -> int:
        """Return the time it was set to."""
        return self.time_ms

    def advance(self, delta_ms: int) -> None:
        """Turn the clock forward by ``delta_ms``."""
        assert delta_ms >= 0, "a clock does not run backwards"
        self.time_ms += delta_ms
