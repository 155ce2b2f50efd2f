"""A histogram of how long decisions took, cheap enough to be kept for each."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Any, Final

BOUNDS_MS: Final = (
    *(0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.5, 15.0, 20.0, 25.0, 30.0, 40.0),
    *(50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0),
)
"""Upper bounds of the buckets; one more holds what is slower."""


class Latency:
    """Counts by bucket; one thread counts.

    Examples
    --------
    >>> latency = Latency()
    >>> latency.add(0.7)
    >>> latency.document()["counts"][:3]
    [0, 1, 1]
    """

    __slots__ = ("_counts", "sum_ms")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_MS) + 1)
        self.sum_ms = 0.0

    def add(self, took_ms: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS_MS, took_ms)] += 1
        self.sum_ms += took_ms

    def document(self) -> dict[str, Any]:
        """Return ``le``, the upper bounds, and ``counts``, cumulative, the last of all."""
        return {"le": list(BOUNDS_MS), "counts": list(accumulate(self._counts))}
