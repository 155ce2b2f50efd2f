"""Turns margins into probabilities that mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from assay.errors import TrainingError

_REGRESSION: Any = LogisticRegression  # its types are partial


@dataclass(frozen=True)
class Platt:
    """Probability = 1 / (1 + exp(-(slope · margin + intercept))).

    Both numbers are exact in float32, as the graph computes with them.
    A slope above 0 keeps the order of the margins.
    """

    slope: float
    intercept: float

    def apply(self, margin: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return calibrated probabilities in float64: the reference for the graph."""
        with np.errstate(over="ignore"):
            z = self.slope * margin.astype(np.float64) + self.intercept
            return np.asarray(1.0 / (1.0 + np.exp(-z)))


def fit_platt(margin: NDArray[np.float32], fraud: NDArray[np.bool_]) -> Platt:
    """Fit slope and intercept by maximum likelihood, as in Platt, 1999, without shrinkage.

    Parameters
    ----------
    margin : ndarray of float32, shape (n,)
        Log-odds of the model on rows that it was not fitted on.
    fraud : ndarray of bool, shape (n,)

    Raises
    ------
    TrainingError
        If a higher margin does not mean more fraud: the model has learnt nothing that holds.
    """
    model = _REGRESSION(C=np.inf, tol=1e-8, max_iter=1000)
    model.fit(margin.reshape(-1, 1).astype(np.float64), fraud)
    slope, intercept = float(np.float32(model.coef_[0, 0])), float(np.float32(model.intercept_[0]))
    if not (np.isfinite([slope, intercept]).all() and slope > 0):
        raise TrainingError(
            f"calibration slope is {slope:.4g}: higher scores do not mean more fraud on rows the "
            "model has not seen; accepted: a slope above 0"
        )
    return Platt(slope, intercept)
