"""Numbers for devices that do not tell whose a device is, and that stay as they are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from assay.simulation.wheel import Ints

_HALF_BITS: Final = 13
_ROUNDS: Final = 4

DEVICES_MAX: Final = 1 << 2 * _HALF_BITS
"""Most devices of a world: their numbers fit eight digits."""


class DeviceNames:
    """A fixed shuffle of all device codes: a Feistel network.

    A device's number depends on the seed and its code alone, not on how many devices there are,
    so that a world that goes on with more of them keeps the numbers it gave.

    Parameters
    ----------
    rng : Generator
        Source of randomness.

    Examples
    --------
    >>> names = DeviceNames(np.random.default_rng(1))
    >>> len(set(names.of(np.arange(1_000)).tolist()))
    1000
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._tables = rng.integers(0, 1 << _HALF_BITS, (_ROUNDS, 1 << _HALF_BITS))

    def of(self, code: NDArray[Any]) -> Ints:
        """Return the number of each code; what it gives for -1 has no meaning."""
        assert code.max(initial=0) < DEVICES_MAX, "more devices than eight digits can name"
        known = np.maximum(code, 0).astype(np.int64)
        left, right = known >> _HALF_BITS, known & ((1 << _HALF_BITS) - 1)
        for table in self._tables:
            left, right = right, left ^ table[right]
        return np.asarray(left << _HALF_BITS | right)
