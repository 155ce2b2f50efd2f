"""Gradient-boosted trees: the family that most card issuers run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import xgboost
from numpy.typing import NDArray

TREES: Final = 200
PARAMETERS: Final[dict[str, float | int]] = {
    "max_depth": 5,
    "eta": 0.1,
    "min_child_weight": 5,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
}
THREADS: Final = 2
"""Fixed, not the machine's count: another number of threads sums in another order."""


def fit_boosting(
    features: NDArray[np.float32],
    fraud: NDArray[np.bool_],
    *,
    seed: int,
    trees: int = TREES,
    progress: Callable[[float], None] = lambda _: None,
) -> xgboost.Booster:
    """Fit boosted trees on log-loss; the same input and seed give the same trees.

    Frauds are not weighted up: it would spoil the probabilities, and ranking gains nothing.
    There is no early stopping: the latest rows, the most like what comes, would have to be
    held out for it.

    Parameters
    ----------
    features : ndarray of float32, shape (n, f)
        Finite or NaN; NaN is unknown and gets its own direction at every split.
    fraud : ndarray of bool, shape (n,)
    seed : int
        For the rows and columns each tree sees.
    trees : int
        Number of trees; time per score grows with it.
    progress : callable
        Called with the share of trees grown, in (0, 1].
    """
    data = xgboost.QuantileDMatrix(features, label=fraud, nthread=THREADS)
    parameters: dict[str, Any] = {
        **PARAMETERS,
        "objective": "binary:logistic",
        "base_score": float(fraud.mean()),
        "tree_method": "hist",
        "nthread": THREADS,
        "seed": seed,
        "verbosity": 0,
    }
    return xgboost.train(parameters, data, trees, callbacks=[_Progress(trees, progress)])


class _Progress(xgboost.callback.TrainingCallback):
    def __init__(self, trees: int, progress: Callable[[float], None]) -> None:
        self._trees, self._progress = trees, progress

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002 # the signature is the library's
        self._progress((epoch + 1) / self._trees)
        return False
