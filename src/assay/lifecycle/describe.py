"""What a bundle says about itself, as the rows and comparisons that people look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

METRICS: Final = ("average_precision", "average_precision_95", "roc_auc", "recall_at_1pct_fpr")
"""Figures of the test part that a list shows."""

Manifest = Mapping[str, Any]
"""A bundle's manifest as plain values."""


def model_row(name: str, manifest: Manifest, status: str) -> dict[str, Any]:
    """Return the row of a bundle whose manifest is sound.

    Parameters
    ----------
    name : str
        The bundle's folder.
    manifest : Mapping
    status : str
        ``live``, ``previous``, ``candidate`` or ``retired``.
    """
    test, part = _test(manifest), manifest["split"].get("test", {})
    return {
        "model": name,
        "created_ms": manifest["created_ms"],
        "feature_set": manifest["feature_set"][:16],
        "dataset_snapshot": manifest["dataset_snapshot"],
        "status": status,
        "error": None,
        "features": len(manifest["features"]),
        "seed": manifest["seed"],
        "metrics": {
            **{metric: test.get(metric) for metric in METRICS},
            "rows": part.get("rows"),
            "frauds": part.get("frauds"),
        },
        "split": manifest["split"],
    }


def damaged_row(name: str, error: str) -> dict[str, Any]:
    """Return the row of a bundle that cannot be used, with the reason."""
    facts = ("created_ms", "feature_set", "dataset_snapshot", "features", "seed")
    return {
        "model": name,
        **dict.fromkeys(facts),
        "status": "damaged",
        "error": error,
        "metrics": dict.fromkeys((*METRICS, "rows", "frauds")),
        "split": {},
    }


def compare(a: Manifest, b: Manifest) -> dict[str, Any]:
    """Return where two models differ.

    Metrics are each model's own, on its own test part: they compare only where ``same_test``.

    Returns
    -------
    dict
        ``metrics`` (name, a, b, difference b - a), ``parameters`` that differ, ``features``,
        ``thresholds``, ``same_test``.
    """
    test_a, test_b = _test(a), _test(b)
    names = [n for n in test_a if isinstance(test_a[n], int | float) and n in test_b]
    only_a = [name for name in a["features"] if name not in set(b["features"])]
    return {
        "metrics": [
            {"name": n, "a": test_a[n], "b": test_b[n], "difference": test_b[n] - test_a[n]}
            for n in names
        ],
        "parameters": _differences(_parameters(a), _parameters(b)),
        "features": {
            "only_a": only_a,
            "only_b": [name for name in b["features"] if name not in set(a["features"])],
            "both": len(a["features"]) - len(only_a),
        },
        "thresholds": {"a": _thresholds(a), "b": _thresholds(b)},
        "same_test": _period(a) == _period(b),
    }


def _test(manifest: Manifest) -> dict[str, Any]:
    test: dict[str, Any] = manifest["metrics"].get("test", {})
    return test


def _thresholds(manifest: Manifest) -> list[Any]:
    rows: list[Any] = manifest["metrics"].get("thresholds", [])
    return rows


def _period(manifest: Manifest) -> tuple[Any, ...]:
    part = manifest["split"].get("test", {})
    return manifest["dataset_snapshot"], part.get("start_ms"), part.get("end_ms")


def _parameters(manifest: Manifest) -> dict[str, Any]:
    named = ("seed", "dataset_snapshot", "code_version")
    return {
        **{name: manifest[name] for name in named},
        **_flat("", manifest["parameters"]),
        **_flat("library ", manifest["libraries"]),
    }


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values under dotted names."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            out |= _flat(f"{prefix}{name}.", value)
        else:
            out[f"{prefix}{name}"] = value
    return out


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "a": a.get(name), "b": b.get(name)}
        for name in {**a, **b}
        if a.get(name) != b.get(name)
    ]
