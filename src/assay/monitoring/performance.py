"""Precision, recall and money on payments whose truth is known: pure functions."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from assay.monitoring.buckets import width_ms
from assay.monitoring.judged import Judged
from assay.monitoring.ranked import Ranked
from assay.monitoring.ranking import average_precision, roc_auc

SHARES: Final = np.geomspace(1e-4, 0.5, 60)
"""Shares of payments that the thresholds of the table would flag, where scores differ enough."""


def summary(judged: Judged, ranked: Ranked) -> list[dict[str, Any]]:
    """Return one row for each model, by name."""
    counts, money = judged.tally(judged.model, len(judged.models))
    return [
        _summary_row(name, counts[i], money[i]) | _ranking(ranked.of(i))
        for i, name in enumerate(judged.models)
    ]


def _summary_row(name: str, counts: Any, money: Any) -> dict[str, Any]:
    """Return what the tally of one model says; its axes are matured, flagged and fraud."""
    caught, false = int(counts[1, 1, 1]), int(counts[1, 1, 0])
    frauds = int(counts[1, :, 1].sum())
    return {
        "model": name,
        "payments": int(counts.sum()),
        "matured": int(counts[1].sum()),
        "frauds": frauds,
        "flagged": int(counts[:, 1].sum()),
        "precision": _share(caught, caught + false),
        "recall": _share(caught, frauds),
        "stopped_fraud_ref": int(money[1, 1, 1]),
        "missed_fraud_ref": int(money[1, 0, 1]),
        "approved_ref": int(money[:, 0].sum()),
        "false_positive_ratio": _share(false, caught),
    }


def _ranking(ranked: Ranked) -> dict[str, float | None]:
    score, fraud = ranked.score, ranked.fraud
    return {"average_precision": average_precision(score, fraud), "roc_auc": roc_auc(score, fraud)}


def series(judged: Judged, from_ms: int, to_ms: int) -> dict[str, list[Any]]:
    """Return columns over time, in at most 120 buckets of [from_ms, to_ms)."""
    width = width_ms(from_ms, to_ms)
    start = from_ms // width
    n = (to_ms - 1) // width - start + 1
    counts, money = judged.tally(judged.time_ms // width - start, n)
    caught, false = counts[:, 1, 1, 1].tolist(), counts[:, 1, 1, 0].tolist()
    frauds = counts[:, 1, :, 1].sum(axis=1).tolist()
    return {
        "bucket_ms": ((np.arange(n) + start) * width).tolist(),
        "payments": counts.sum(axis=(1, 2, 3)).tolist(),
        "frauds": frauds,
        "precision": [_share(a, a + b) for a, b in zip(caught, false, strict=True)],
        "recall": [_share(a, b) for a, b in zip(caught, frauds, strict=True)],
        "stopped_fraud_ref": money[:, 1, 1, 1].tolist(),
        "missed_fraud_ref": money[:, 1, 0, 1].tolist(),
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


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
