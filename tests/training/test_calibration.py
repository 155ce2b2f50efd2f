from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from assay.errors import TrainingError
from assay.training.calibration import Platt, fit_platt


def drawn(
    slope: float, intercept: float, n: int = 50_000
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return margins and frauds whose true calibration is known."""
    rng = np.random.default_rng(0)
    margin = rng.normal(-2, 2, n).astype(np.float32)
    return margin, rng.random(n) < Platt(slope, intercept).apply(margin)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.6, -1.0), (1.7, 0.8)])
def test_true_slope_and_intercept_are_found(slope: float, intercept: float) -> None:
    """Frauds drawn with a known calibration give it back."""
    platt = fit_platt(*drawn(slope, intercept))
    assert platt.slope == pytest.approx(slope, abs=0.05)
    assert platt.intercept == pytest.approx(intercept, abs=0.08)


def test_mean_score_is_the_share_of_fraud() -> None:
    """On the rows it was fitted on, the scores add up to the frauds."""
    margin, fraud = drawn(0.7, -2)
    assert fit_platt(margin, fraud).apply(margin).mean() == pytest.approx(fraud.mean(), rel=1e-4)


def test_numbers_are_exact_in_float32() -> None:
    """The graph computes with the very numbers that the reference uses."""
    platt = fit_platt(*drawn(0.7, -2, 5000))
    assert platt.slope == float(np.float32(platt.slope))
    assert platt.intercept == float(np.float32(platt.intercept))


def test_a_model_that_ranks_backwards_is_refused() -> None:
    """A slope that is not above 0 would turn risk around: no such model is made."""
    margin, fraud = drawn(1.0, 0.0, 5000)
    with pytest.raises(TrainingError, match="slope is -"):
        fit_platt(-margin, fraud)


def test_extreme_margins_stay_probabilities() -> None:
    """Margins beyond float range of exp give 0 and 1, not warnings."""
    assert Platt(1, 0).apply(np.array([-1e6, 1e6], np.float32)).tolist() == [0.0, 1.0]
