"""What a model's data looked like when it was judged: shares by bin, as numbers only.

The document is ``quantiles.json`` of a bundle, format 2::

    {"format": 2, "rows", "from_ms", "to_ms",
     "features": {name: {"edges": [k], "shares": [k + 1], "missing", "psi_day"}},
     "score": the same}

Bin i holds the values in (edges[i-1], edges[i]], the last one what is greater than every edge;
``shares`` and ``missing`` add up to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from assay.errors import BundleError
from assay.records import DAY_MS

FORMAT: Final = 2

CUTS: Final = (0.01, 0.05, *(step / 10 for step in range(1, 10)), 0.95, 0.99)
"""Where the edges lie, as shares of the known values."""

ATOM_SHARE: Final = 0.02
"""A value that so many of the known rows hold gets a bin of its own."""

HOLDERS_MIN: Final = 10
"""An edge has so many rows at or below it, and at or above: it is never one person's extreme."""

ROWS_MAX: Final = 500_000
"""Beyond it every k-th row is taken."""

ROWS_MIN: Final = 1_000
"""Fewest rows that are compared with the whole; sparser days are taken together."""

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]


class Subject(msgspec.Struct, frozen=True):
    """One feature's grid, or the score's."""

    edges: list[float]
    shares: list[float]
    missing: float
    psi_day: float


class _Document(msgspec.Struct, frozen=True):
    format: int
    rows: int
    from_ms: int
    to_ms: int
    features: dict[str, Subject]
    score: Subject


class Grids:
    """The grids of one model: counts live rows into its bins and compares them.

    Counts have a row for each feature and a last one for the score; of their columns the last
    is what was missing, and those before are the bins, with zeros where a subject has fewer.

    Attributes
    ----------
    subjects : tuple of str
        Feature names in order, then ``score``.
    rows : int
        How many rows the reference has.
    psi_day : ndarray of float64, shape (f + 1,)
        Largest PSI of one day of the reference against all of it: what is natural.
    bins_max : int
        Columns of the counts.

    Raises
    ------
    BundleError
        If the document is of another format or damaged.
    """

    def __init__(self, document: _Document) -> None:
        grids = [*document.features.values(), document.score]
        self.subjects = (*document.features, "score")
        self.rows = document.rows
        self.psi_day = np.array([grid.psi_day for grid in grids])
        self.bins_max = max(len(grid.shares) for grid in grids) + 1
        self._edges = [_bounds(np.array(grid.edges, np.float32)) for grid in grids]
        self._bins = np.array([len(grid.shares) + 1 for grid in grids])
        shares = [_row(grid.shares, grid.missing, self.bins_max) for grid in grids]
        self._reference = np.stack(shares) * document.rows

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """Take a document that `make_grids` made, after a check of all it says."""
        found = document.get("format", 1)
        if found != FORMAT:
            raise BundleError(
                f"quantiles.json has format {found!r}; accepted: format {FORMAT}, train again"
            )
        try:
            typed = msgspec.convert(document, _Document)
        except msgspec.ValidationError as error:
            raise BundleError(f"quantiles.json is damaged: {error}; train again") from None
        for name, grid in (*typed.features.items(), ("score", typed.score)):
            _check(name, grid)
        if typed.rows < 1:
            raise BundleError(f"quantiles.json has {typed.rows} rows; accepted: 1 or more")
        return cls(typed)

    def count(self, features: Floats, scores: Floats) -> Counts:
        """Return how many rows fall into each bin.

        Parameters
        ----------
        features : ndarray of float32, shape (n, f)
            NaN is missing.
        scores : ndarray of float32, shape (n,)
            NaN is no score: the row is not counted for the score.

        Returns
        -------
        ndarray of int64, shape (f + 1, bins_max)
        """
        assert features.shape[1] == len(self._edges) - 1, features.shape
        counts = np.zeros((len(self._edges), self.bins_max), np.int64)
        columns = np.ascontiguousarray(features.T)
        for row, edges, column in zip(counts, self._edges, columns, strict=False):
            _add(row, edges, column)
        _add(counts[-1], self._edges[-1], scores[~np.isnan(scores)])
        return counts

    def psi(self, counts: Counts) -> NDArray[np.float64]:
        """Return how unlike the reference the counts of each subject are; 0 is alike.

        The population stability index, sum of (q - p) ln(q / p) over the bins, missing among
        them (N. Siddiqi, Credit Risk Scorecards, Wiley 2006, section 8).
        It has no value where a bin is empty, so half a row is added to every bin of both sides.

        Parameters
        ----------
        counts : ndarray of int64, shape (f + 1, bins_max)
            A subject without rows gets 0.

        Returns
        -------
        ndarray of float64, shape (f + 1,)
        """
        return _psi(self._reference, counts, self._bins)


def make_grids(
    features: Floats, names: Sequence[str], scores: Floats, event_time_ms: NDArray[np.int64]
) -> dict[str, Any]:
    """Return the grids of every feature and of the score, for drift monitors.

    Parameters
    ----------
    features : ndarray of float32, shape (n, f)
        Rows that the model was not fitted on; NaN is missing. Beyond 500,000 every k-th is taken.
    names : sequence of str
        Feature names, in order.
    scores : ndarray of float32, shape (n,)
        Of the same rows.
    event_time_ms : ndarray of int64, shape (n,)
        In any order.

    Returns
    -------
    dict
        As drawn at the top of this module. ``psi_day`` is the largest PSI of any 24 hours,
        counted from the first row, against the whole; a day of fewer than 1,000 rows is taken
        together with those that follow it.
    """
    assert len(features) == len(scores) == len(event_time_ms) > 0, len(features)
    assert features.shape[1] == len(names), features.shape
    step = slice(None, None, -(-len(features) // ROWS_MAX))
    time_ms = event_time_ms[step]
    group, groups = _days(time_ms)
    columns = [*np.ascontiguousarray(features[step].T), scores[step]]
    made = [_subject(column, group, groups) for column in columns]
    return {
        "format": FORMAT,
        "rows": len(time_ms),
        "from_ms": int(time_ms.min()),
        "to_ms": int(time_ms.max()) + 1,
        "features": dict(zip(names, made, strict=False)),
        "score": made[-1],
    }


def _days(time_ms: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Return which stretch of whole days each row is in, and how many stretches there are.

    Rows after the last whole stretch are in one more that is not compared.
    """
    day = (time_ms - time_ms.min()) // DAY_MS
    rows = np.bincount(day)
    stretch, held, of_day = 0, 0, np.zeros(len(rows), np.int64)
    for i, n in enumerate(rows[:-1]):
        of_day[i] = stretch
        held += int(n)
        if held >= ROWS_MIN:
            stretch, held = stretch + 1, 0
    of_day[-1] = stretch
    return of_day[day], stretch


def _subject(column: Floats, group: NDArray[np.int64], groups: int) -> dict[str, Any]:
    edges = _edges(column)
    bins = len(edges) + 2
    code = np.searchsorted(_bounds(edges), column)
    counts = np.bincount(group * bins + code, minlength=(groups + 1) * bins)
    by_group = counts.reshape(-1, bins)
    whole = by_group.sum(axis=0)
    reference = np.broadcast_to(whole.astype(np.float64), (groups, bins))
    daily = _psi(reference, by_group[:groups], np.full(groups, bins))
    shares = whole / len(column)
    return {
        "edges": edges.astype(np.float64).tolist(),
        "shares": shares[:-1].tolist(),
        "missing": float(shares[-1]),
        "psi_day": float(daily.max(initial=0.0)),
    }


def _edges(column: Floats) -> Floats:
    """Return edges at the cuts, and both sides of every value that many rows hold."""
    known = np.sort(column[~np.isnan(column)])
    if not len(known):
        return known
    values = np.unique(known[[int(cut * (len(known) - 1)) for cut in CUTS]])
    first = np.searchsorted(known, values)
    after = np.searchsorted(known, values, side="right")
    held = after - first >= max(HOLDERS_MIN, ATOM_SHARE * len(known))
    below = np.nextafter(values[held], np.float32(-np.inf))
    below[values[held] == 0] = -np.finfo(np.float32).tiny  # some processors take subnormals as 0
    fair = (after >= HOLDERS_MIN) & (len(known) - first >= HOLDERS_MIN)
    return np.unique(np.concatenate([values[fair | held], below]))


def _bounds(edges: Floats) -> Floats:
    """Return edges to search in: what is greater than infinity is NaN, the missing bin."""
    return np.append(edges, np.float32(np.inf)).astype(np.float32)


def _add(row: Counts, bounds: Floats, column: Floats) -> None:
    """Add a column's counts to a row whose last place is for what is missing."""
    found = np.bincount(np.searchsorted(bounds, column), minlength=len(bounds) + 1)
    row[: len(bounds)] += found[:-1]
    row[-1] += found[-1]


def _row(shares: list[float], missing: float, bins_max: int) -> NDArray[np.float64]:
    row = np.zeros(bins_max)
    row[: len(shares)], row[-1] = shares, missing
    return row


def _psi(
    reference: NDArray[np.float64], counts: Counts, bins: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the PSI of each row; bins beyond a row's own are empty on both sides and add 0."""
    p = (reference + 0.5) / (reference.sum(axis=1) + 0.5 * bins)[:, None]
    q = (counts + 0.5) / (counts.sum(axis=1) + 0.5 * bins)[:, None]
    own = np.arange(reference.shape[1]) < (bins - 1)[:, None]
    own[:, -1] = True  # the missing bin
    psi = np.where(own, (q - p) * np.log(q / p), 0.0).sum(axis=1)
    return np.where(counts.sum(axis=1) > 0, psi, 0.0)


def _check(name: str, grid: Subject) -> None:
    edges, shares = np.array(grid.edges), np.array(grid.shares)
    fits = (
        len(shares) == len(edges) + 1
        and np.isfinite(edges).all()
        and (np.diff(edges.astype(np.float32)) > 0).all()
        and (shares >= 0).all()
        and grid.missing >= 0
        and abs(shares.sum() + grid.missing - 1) < 1e-6
        and 0 <= grid.psi_day < np.inf
    )
    if not fits:
        raise BundleError(
            f"quantiles.json is damaged at {name!r}; accepted: rising edges, one share more than "
            "edges, and shares that add up to 1 with what is missing; train again"
        )
