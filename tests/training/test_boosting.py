from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score
from small_world import World

from assay.training.boosting import fit_boosting


def test_fit_is_repeatable_and_seeded(world: World) -> None:
    """The same rows and seed give the same trees; another seed gives others."""
    fraud = world.fraud == 1
    first, again, other = (
        bytes(fit_boosting(world.features, fraud, seed=seed, trees=10).save_raw("json"))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_fit_learns_and_reports_progress(world: World) -> None:
    """Trees rank unseen frauds above genuine rows, and progress runs up to 1."""
    shares: list[float] = []
    fraud, half = world.fraud == 1, len(world.fraud) // 2
    booster = fit_boosting(
        world.features[:half], fraud[:half], seed=0, trees=30, progress=shares.append
    )
    assert roc_auc_score(fraud[half:], booster.inplace_predict(world.features[half:])) > 0.85
    assert len(shares) == 30
    assert np.all(np.diff(shares) > 0)
    assert shares[-1] == 1.0
