"""Where arrival numbers stand: one in 64 is remembered, the rest is a short walk from there."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

EVERY: Final = 64
"""A walk over so many records takes less than a millisecond; ten million need 2.5 MB."""


class Places:
    """Positions within one segment by arrival; one thread adds, any looks.

    Examples
    --------
    >>> places = Places()
    >>> places.add([5, 6], [64, 99])
    >>> places.before(6)
    64
    >>> places.before(4) is None
    True
    """

    __slots__ = ("_arrivals", "_positions")

    def __init__(self) -> None:
        self._arrivals, self._positions = array("Q"), array("q")

    def add(self, arrivals: Sequence[int], positions: Sequence[int]) -> None:
        """Remember records, in the order of the journal."""
        last = self._arrivals[-1] if self._arrivals else arrivals[0] - EVERY
        for i in range(max(0, last + EVERY - arrivals[0]), len(positions), EVERY):
            self._positions.append(positions[i])
            self._arrivals.append(arrivals[i])  # last: who sees it finds its position

    def before(self, arrival: int) -> int | None:
        """Return the position of an arrival or of one shortly before it; None if it is earlier."""
        at = bisect_right(self._arrivals, arrival) - 1
        return self._positions[at] if at >= 0 else None
