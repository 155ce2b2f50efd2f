from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
import xgboost
from graph_contract import GraphContract
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import TrainingError
from assay.training.boosting import fit_boosting
from assay.training.calibration import Platt
from assay.training.export import export_onnx, graph_scores

PLATT = Platt(float(np.float32(1.1)), float(np.float32(-0.2)))


def fitted(seed: int = 0, n: int = 4000, trees: int = 60, f: int = 7) -> xgboost.Booster:
    """Return a small booster on features of very different scales, one always missing."""
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(n, f)) * 10.0 ** np.arange(-2, f - 2)).astype(np.float32)
    features[:, 1] = np.round(features[:, 1] * 10)
    features[rng.random(features.shape) < 0.15] = np.nan
    features[:, f - 1] = np.nan
    risk = np.nan_to_num(features[:, 0] * 100 + features[:, 1] + features[:, 2])
    return fit_boosting(
        features, rng.random(n) < 1 / (1 + np.exp(3 - risk)), seed=seed, trees=trees
    )


def trees_of(booster: xgboost.Booster) -> list[dict[str, Any]]:
    document = json.loads(bytes(booster.save_raw("json")))
    trees: list[dict[str, Any]] = document["learner"]["gradient_booster"]["model"]["trees"]
    return trees


def corner_rows(booster: xgboost.Booster, n: int = 2000, seed: int = 1) -> np.ndarray:
    """Return rows of thresholds, their neighbours, NaN, infinities, zeros and extremes."""
    rng = np.random.default_rng(seed)
    thresholds = [np.zeros(1, np.float32) for _ in range(booster.num_features())]
    for tree in trees_of(booster):
        for left, feature, value in zip(
            tree["left_children"], tree["split_indices"], tree["split_conditions"], strict=True
        ):
            if left != -1:
                thresholds[feature] = np.append(thresholds[feature], np.float32(value))
    columns = []
    for values in thresholds:
        near = [np.nextafter(values, np.float32(side)) for side in (-np.inf, np.inf)]
        special = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 3.4e38, 1e-45], np.float32)
        columns.append(rng.choice(np.concatenate([values, *near, special]), n))
    return np.stack(columns, axis=1).astype(np.float32)


def walk(booster: xgboost.Booster, rows: np.ndarray) -> np.ndarray:
    """Return margins in float64 by walking the booster's own JSON, one row at a time."""
    document = json.loads(bytes(booster.save_raw("json")))
    base = float(document["learner"]["learner_model_param"]["base_score"].strip("[]"))
    margin = np.full(len(rows), np.log(base / (1 - base)))
    for tree in trees_of(booster):
        for i, row in enumerate(rows):
            node = 0
            while tree["left_children"][node] != -1:
                value, threshold = row[tree["split_indices"][node]], tree["split_conditions"][node]
                left = (
                    tree["default_left"][node] if np.isnan(value) else value < np.float32(threshold)
                )
                node = tree["left_children" if left else "right_children"][node]
            margin[i] += tree["split_conditions"][node]
    return margin


def test_graph_keeps_the_contract_in_every_corner() -> None:
    """Thresholds, NaN and infinities score as a plain walk of the trees says."""
    booster = fitted()
    rows = corner_rows(booster, 600)
    GraphContract(
        export_onnx(booster, PLATT), lambda rows: PLATT.apply(walk(booster, rows)), rows
    ).check()


@given(st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_graph_equals_the_library(seed: int) -> None:
    """On all finite and missing values the graph is within 1e-6 of XGBoost, whatever was fitted."""
    booster = fitted(seed, n=1500, trees=25)
    rows = corner_rows(booster, 3000, seed)
    rows[np.isinf(rows)] = np.nan
    margin = booster.inplace_predict(rows, predict_type="margin")
    contract = GraphContract(export_onnx(booster, PLATT), lambda _: PLATT.apply(margin), rows)
    contract.check_shape()
    contract.check_equal_to_reference()


def test_margin_has_the_bits_of_the_library() -> None:
    """Before calibration the graph's sum is XGBoost's, bit for bit."""
    booster = fitted(trees=200)
    rows = corner_rows(booster, 5000)
    rows[np.isinf(rows)] = np.nan
    model = onnx.load_from_string(export_onnx(booster, PLATT))
    del model.graph.output[:]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("margin", onnx.TensorProto.FLOAT, ["n"])
    )
    got = GraphContract(model.SerializeToString(), PLATT.apply, rows).score(rows)
    want = booster.inplace_predict(rows, predict_type="margin")
    assert np.array_equal(got.view("u4"), want.view("u4"))


def test_score_never_falls_as_the_margin_rises() -> None:
    """Calibration in float32 is monotone over every margin, and small scores do not vanish."""
    rng = np.random.default_rng(0)
    column = np.sort(rng.normal(size=40_000)).astype(np.float32).reshape(-1, 1)
    booster = fit_boosting(column, rng.random(len(column)) < 0.2, seed=0, trees=1)
    model = onnx.load_from_string(export_onnx(booster, PLATT))
    # The calibration alone: its input becomes the graph's.
    del model.graph.node[:2], model.graph.input[:]
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("margin", onnx.TensorProto.FLOAT, ["n"])
    )
    margin = np.sort(rng.uniform(-90, 90, 500_000)).astype(np.float32)
    score = GraphContract(model.SerializeToString(), PLATT.apply, margin).score(margin)
    assert (np.diff(score) >= 0).all()
    assert np.abs(score - PLATT.apply(margin)).max() < 2e-7
    small = margin > -60
    assert (np.abs(score[small] / PLATT.apply(margin[small]) - 1) < 1e-5).all()


def test_trees_without_a_split_are_exported() -> None:
    """A model that found nothing is its base score."""
    rng = np.random.default_rng(0)
    booster = fit_boosting(
        np.full((400, 2), np.nan, np.float32), rng.random(400) < 0.1, seed=0, trees=3
    )
    rows = np.array([[np.nan, 1], [2, np.inf]], np.float32)
    (score,) = graph_scores(export_onnx(booster, PLATT), rows)
    assert score == pytest.approx(PLATT.apply(walk(booster, rows)), abs=1e-6)


def test_export_is_repeatable() -> None:
    """The same booster gives the same bytes."""
    booster = fitted(trees=5)
    assert export_onnx(booster, PLATT) == export_onnx(booster, PLATT)


def test_slices_do_not_change_scores() -> None:
    """Scoring in slices gives what one call gives."""
    booster = fitted(trees=5)
    model, rows = export_onnx(booster, PLATT), corner_rows(booster, 1000)
    (whole,) = graph_scores(model, rows)
    assert np.array_equal(np.concatenate(list(graph_scores(model, rows, 77))), whole)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"objective": "reg:squarederror"}, "reg:squarederror"),
        ({"objective": "binary:logistic", "booster": "dart"}, "dart"),
        ({"objective": "binary:logistic", "booster": "gblinear"}, "gblinear"),
    ],
)
def test_other_models_are_refused(parameters: dict[str, Any], said: str) -> None:
    """What is not a plain sum of trees with a logistic target is named and refused."""
    rng = np.random.default_rng(0)
    data = xgboost.DMatrix(rng.normal(size=(100, 2)), label=rng.random(100) < 0.5)
    booster = xgboost.train({**parameters, "verbosity": 0}, data, 2)
    with pytest.raises(TrainingError, match=said):
        export_onnx(booster, PLATT)


def test_categorical_splits_are_refused() -> None:
    """A split over a set of categories has no place in the graph."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 6, (500, 1)).astype(np.float32)
    data = xgboost.DMatrix(
        codes, label=codes[:, 0] % 2, feature_types=["c"], enable_categorical=True
    )
    booster = xgboost.train({"objective": "binary:logistic", "max_cat_to_onehot": 1}, data, 2)
    with pytest.raises(TrainingError, match="categorical"):
        export_onnx(booster, PLATT)
