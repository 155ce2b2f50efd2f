from __future__ import annotations

from typing import Any

from assay.lifecycle.describe import compare, damaged_row, model_row


def manifest(**changed: Any) -> dict[str, Any]:
    return {
        "feature_set": "ab" * 32,
        "features": ["x", "y"],
        "dataset_snapshot": "cd",
        "parameters": {"trees": 10, "calibration": {"slope": 1.0}},
        "seed": 0,
        "split": {"test": {"rows": 50, "frauds": 5, "start_ms": 1, "end_ms": 2}},
        "metrics": {
            "test": {
                "average_precision": 0.5,
                "average_precision_95": [0.4, 0.6],
                "roc_auc": 0.75,
                "recall_at_1pct_fpr": 0.3,
                "brier": 0.1,
            },
            "thresholds": [{"chosen_on": {"threshold": 0.9}}],
        },
        "libraries": {"numpy": "2"},
        "code_version": "1",
        "created_ms": 7,
        **changed,
    }


def test_a_row_holds_what_a_list_shows() -> None:
    """The test part's figures, with their interval and size, and where the model comes from."""
    row = model_row("boosting-0.1.0", manifest(), "live")
    assert row["metrics"] == {
        "average_precision": 0.5,
        "average_precision_95": [0.4, 0.6],
        "roc_auc": 0.75,
        "recall_at_1pct_fpr": 0.3,
        "rows": 50,
        "frauds": 5,
    }
    assert (row["status"], row["features"], row["feature_set"]) == ("live", 2, "ab" * 8)


def test_rows_have_one_shape() -> None:
    """A damaged bundle's row has the keys of a sound one's, and so has one without figures."""
    bare = model_row("boosting-0.1.0", manifest(metrics={}, split={}), "candidate")
    damaged = damaged_row("boosting-0.1.0", "signature does not fit")
    assert damaged.keys() == bare.keys()
    assert damaged["metrics"].keys() == bare["metrics"].keys()
    assert set(bare["metrics"].values()) == {None}


def test_equal_models_do_not_differ() -> None:
    """A model compared with itself: differences are zero, and no parameter is listed."""
    same = compare(manifest(), manifest())
    assert {row["difference"] for row in same["metrics"]} == {0}
    assert same["parameters"] == []
    assert same["features"] == {"only_a": [], "only_b": [], "both": 2}
    assert same["same_test"]


def test_differences_are_listed() -> None:
    """What differs stands under its dotted name with both values, absent ones as None."""
    other = manifest(
        features=["y", "z"],
        seed=1,
        parameters={"trees": 10, "calibration": {"slope": 2.0}, "depth": 3},
        metrics={"test": {"roc_auc": 0.5, "average_precision_95": [0.1, 0.2]}},
        dataset_snapshot="ef",
    )
    found = compare(manifest(), other)
    assert found["metrics"] == [{"name": "roc_auc", "a": 0.75, "b": 0.5, "difference": -0.25}]
    assert found["parameters"] == [
        {"name": "seed", "a": 0, "b": 1},
        {"name": "dataset_snapshot", "a": "cd", "b": "ef"},
        {"name": "calibration.slope", "a": 1.0, "b": 2.0},
        {"name": "depth", "a": None, "b": 3},
    ]
    assert found["features"] == {"only_a": ["x"], "only_b": ["z"], "both": 1}
    assert found["thresholds"] == {"a": [{"chosen_on": {"threshold": 0.9}}], "b": []}
    assert not found["same_test"]
