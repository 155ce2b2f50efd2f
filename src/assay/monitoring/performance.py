"""Precision, recall and money on matured payments: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from assay.monitoring.buckets import width_ms
from assay.monitoring.judged import Ints, Judged
from assay.monitoring.ranked import Ranked
from assay.monitoring.ranking import average_precision, roc_auc

POINTS_MAX: Final = 30
"""Most bars over time: a bar with one fraud in it has a precision of nothing or of all."""

SHARES: Final = np.geomspace(1e-4, 0.5, 60)
"""Shares of payments that the thresholds of the table would flag, where scores differ enough."""


FIGURES: Final = (
    "frauds",
    "flagged",
    "precision",
    "recall",
    "stopped_fraud_ref",
    "missed_fraud_ref",
    "approved_ref",
    "false_positive_ratio",
)
"""What is said of matured payments; None where there is none."""

_OF_LABELS: Final = frozenset(FIGURES) - {"flagged", "approved_ref"} | {
    "labelled_early",
    "average_precision",
    "roc_auc",
    "false_positives",
}
"""What nobody knows without labels."""


def summary(judged: Judged, ranked: Ranked) -> list[dict[str, Any]]:
    """Return one row for each model, by name."""
    n = len(judged.models)
    counts, money = judged.tally(judged.model, n)
    early = np.bincount(judged.model[judged.early], minlength=n)
    return [
        {
            "model": name,
            "payments": int(counts[i].sum()),
            "matured": int(counts[i, 1].sum()),
            "labelled_early": int(early[i]),
            **_figures(counts[i, 1], money[i, 1]),
            **_ranking(ranked.of(i)),
        }
        for i, name in enumerate(judged.models)
    ]


def _figures(counts: Ints, money: Ints) -> dict[str, Any]:
    """Return `FIGURES` of matured payments.

    The axes of both are whether it was flagged, of money whether it was stopped, and fraud.
    """
    if not counts.any():
        return dict.fromkeys(FIGURES)
    caught, false, frauds = int(counts[1, 1]), int(counts[1, 0]), int(counts[:, 1].sum())
    return {
        "frauds": frauds,
        "flagged": caught + false,
        "precision": _share(caught, caught + false),
        "recall": _share(caught, frauds),
        "stopped_fraud_ref": int(money[1, 1]),
        "missed_fraud_ref": int(money[0, 1]),
        "approved_ref": int(money[0].sum()),
        "false_positive_ratio": _share(false, caught),
    }


def _ranking(ranked: Ranked) -> dict[str, float | None]:
    score, fraud = ranked.score, ranked.fraud
    return {"average_precision": average_precision(score, fraud), "roc_auc": roc_auc(score, fraud)}


def series(judged: Judged, from_ms: int, to_ms: int) -> dict[str, list[Any]]:
    """Return columns over time, in at most 30 buckets of [from_ms, to_ms)."""
    width = width_ms(from_ms, to_ms, points_max=POINTS_MAX)
    start = from_ms // width
    n = (to_ms - 1) // width - start + 1
    counts, money = judged.tally(judged.time_ms // width - start, n)
    rows = [_figures(counts[i, 1], money[i, 1]) for i in range(n)]
    figures = ("frauds", "precision", "recall", "stopped_fraud_ref", "missed_fraud_ref")
    return {
        "bucket_ms": ((np.arange(n) + start) * width).tolist(),
        "payments": counts.sum(axis=(1, 2, 3)).tolist(),
        **{name: [row[name] for row in rows] for name in figures},
    }


def threshold_table(ranked: Ranked) -> list[dict[str, Any]]:
    """Return what thresholds on the score would have done to the matured payments.

    Up to 60 rows by descending threshold, at scores that payments had.
    """
    if not len(ranked):
        return []
    places = np.ceil(SHARES * len(ranked)).astype(np.int64) - 1
    cuts = np.unique(ranked.score[places])[::-1]
    return _threshold_rows(ranked, cuts.astype(np.float64).tolist())


def at_threshold(ranked: Ranked, threshold: float) -> dict[str, Any] | None:
    """Return the row of `threshold_table` at one threshold; None without matured payments."""
    return _threshold_rows(ranked, [threshold])[0] if len(ranked) else None


def _threshold_rows(ranked: Ranked, thresholds: list[float]) -> list[dict[str, Any]]:
    """Return a row for each threshold: a payment is flagged that scores as high or higher."""
    caught = np.concatenate([[0], np.cumsum(ranked.fraud, dtype=np.int64)])
    money = np.concatenate([[0], np.cumsum(np.where(ranked.fraud, ranked.amount_ref, 0))])
    rising = -np.array(thresholds, np.float64)
    flagged = np.searchsorted(-ranked.score.astype(np.float64), rising, side="right")
    return [
        {
            "threshold": threshold,
            "flagged": n,
            "flagged_share": n / len(ranked),
            "precision": _share(int(caught[n]), n),
            "recall": _share(int(caught[n]), int(caught[-1])),
            "stopped_fraud_ref": int(money[n]),
            "false_positives": n - int(caught[n]),
            "per_day": n / ranked.days,
        }
        for threshold, n in zip(thresholds, flagged.tolist(), strict=True)
    ]


def without_labels(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report with None for all that labels say: they could not be read."""
    chosen, columns = report["chosen"], report["series"]
    unknown = [None] * len(columns["bucket_ms"])
    return {
        "summary": [_without_labels(row) for row in report["summary"]],
        "series": {k: unknown if k in _OF_LABELS else column for k, column in columns.items()},
        "thresholds": [_without_labels(row) for row in report["thresholds"]],
        "chosen": None if chosen is None else _without_labels(chosen),
    }


def _without_labels(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if name in _OF_LABELS else value for name, value in row.items()}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
