from __future__ import annotations

import json

import numpy as np

from assay.training.quantiles import GRID, ROWS_MAX, quantile_grids


def test_grids_are_the_quantiles_of_known_values() -> None:
    """Each feature has its share of missing and quantiles over the rest; all missing has none."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5000, 3)).astype(np.float32)
    features[::4, 0] = np.nan
    features[:, 2] = np.nan
    grids = quantile_grids(features, ["a", "b", "c"], features[:, 1])
    assert grids["features"]["a"]["missing"] == 0.25
    assert np.allclose(grids["features"]["a"]["values"], np.nanquantile(features[:, 0], GRID))
    assert grids["features"]["c"] == {"missing": 1.0, "values": []}
    assert grids["score"] == grids["features"]["b"]
    assert "NaN" not in json.dumps(grids)


def test_no_extreme_value_of_a_row_is_kept() -> None:
    """The one largest amount in a table is nowhere in the grids."""
    column = np.append(np.arange(1000, dtype=np.float32), np.float32(7_654_321))
    grids = quantile_grids(column.reshape(-1, 1), ["amount"], column)
    assert "7654321" not in json.dumps(grids)
    assert max(grids["features"]["amount"]["values"]) < 1000


def test_large_tables_are_sampled() -> None:
    """Beyond the limit every k-th row stands for the rest, with nearly the same grids."""
    column = np.random.default_rng(0).random(3 * ROWS_MAX).astype(np.float32)
    grids = quantile_grids(column.reshape(-1, 1), ["x"], column[:10])
    assert np.allclose(grids["features"]["x"]["values"], GRID, atol=0.01)
