"""How well scores rank frauds before honest payments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


def average_precision(score: Floats, fraud: Bools) -> float | None:
    """Return the precision averaged over the frauds, in order of descending score.

    Parameters
    ----------
    score : ndarray of float32, shape (n,)
        Higher is riskier; descending. Equal scores are taken together.
    fraud : ndarray of bool, shape (n,)

    Returns
    -------
    float or None
        None without a fraud.

    Examples
    --------
    >>> average_precision(np.float32([0.9, 0.5, 0.4, 0.3]), np.array([True, False, False, True]))
    0.75
    """
    if not fraud.any():
        return None
    flagged, caught = _steps(score, fraud)
    found = np.diff(caught, prepend=0)
    return float((found * caught / flagged).sum() / caught[-1])


def roc_auc(score: Floats, fraud: Bools) -> float | None:
    """Return the chance that a fraud scores above an honest payment; equal scores count half.

    Parameters
    ----------
    score : ndarray of float32, shape (n,)
        Descending.
    fraud : ndarray of bool, shape (n,)

    Returns
    -------
    float or None
        None without a fraud, or without an honest payment.

    Examples
    --------
    >>> roc_auc(np.float32([0.9, 0.5, 0.5]), np.array([True, False, True]))
    0.75
    """
    if fraud.all() or not fraud.any():
        return None
    flagged, caught = _steps(score, fraud)
    false = flagged - caught
    height = (caught + np.concatenate([[0], caught[:-1]])) / 2
    return float((np.diff(false, prepend=0) * height).sum() / (false[-1] * caught[-1]))


def _steps(score: Floats, fraud: Bools) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many are flagged, and how many of them are fraud, at each distinct score."""
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)
    return last + 1, np.cumsum(fraud, dtype=np.int64)[last]
