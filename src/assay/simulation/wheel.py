"""Weighted draws within many groups at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Wheel:
    """Draws members of groups in proportion to their weights.

    All groups lie on one line, group g on [g, g + 1), so that a draw from a million groups is a
    single binary search.

    Parameters
    ----------
    group : array of int, shape (members,)
        The group of each member, from 0.
    weight : array of float, shape (members,)
        Positive, in any unit.

    Examples
    --------
    >>> wheel = Wheel([0, 1, 1], [1.0, 1.0, 0.0])
    >>> wheel.draw(np.random.default_rng(0), np.array([0, 1])).tolist()
    [0, 1]
    """

    def __init__(self, group: ArrayLike, weight: ArrayLike) -> None:
        groups = np.asarray(group, np.int64)
        self._order = np.argsort(groups, kind="stable")
        ordered = groups[self._order]
        total = np.cumsum(np.asarray(weight, np.float64)[self._order])
        first = np.searchsorted(ordered, ordered, "left")
        last = np.searchsorted(ordered, ordered, "right") - 1
        before = np.where(first > 0, total[first - 1], 0.0)
        self._edges = ordered + (total - before) / (total[last] - before)
        ends = last == np.arange(len(ordered))
        self._edges[ends] = ordered[ends] + 1  # rounding must not let a draw leave its group

    def draw(self, rng: np.random.Generator, group: Ints) -> Ints:
        """Return one member for each entry of `group`, which must not name an empty group."""
        at = np.searchsorted(self._edges, group + rng.random(len(group)), "right")
        return self._order[np.minimum(at, len(self._order) - 1)]
