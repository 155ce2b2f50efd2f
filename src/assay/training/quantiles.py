"""Quantile grids: what the distributions looked like in training, as numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

GRID: Final = (0.01, *(step / 20 for step in range(1, 20)), 0.99)
"""Neither minimum nor maximum: they would be the values of one person's transaction."""

ROWS_MAX: Final = 200_000


def quantile_grids(
    features: NDArray[np.float32], names: Sequence[str], score: NDArray[np.float32]
) -> dict[str, Any]:
    """Return the grids of every feature and of the score, for drift monitors.

    Parameters
    ----------
    features : ndarray of float32, shape (n, f)
        Beyond 200,000 rows every k-th is taken.
    names : sequence of str
        Feature names, in order.
    score : ndarray of float32, shape (m,)
        Scores of rows that the model was not fitted on.

    Returns
    -------
    dict
        ``grid`` (shares), ``features`` (name → ``missing`` share and ``values``, empty if all
        are missing) and ``score``.
    """
    sample = features[:: len(features) // ROWS_MAX + 1]
    return {
        "grid": list(GRID),
        "features": {name: _grid(sample[:, i]) for i, name in enumerate(names)},
        "score": _grid(score[:: len(score) // ROWS_MAX + 1]),
    }


def _grid(column: NDArray[np.float32]) -> dict[str, Any]:
    known = column[~np.isnan(column)].astype(np.float64)
    values = np.quantile(known, GRID).tolist() if len(known) else []
    return {"missing": 1.0 - len(known) / len(column), "values": values}
