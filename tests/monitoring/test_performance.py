from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from assay.monitoring.buckets import POINTS_MAX, width_ms
from assay.monitoring.judged import Judged, judge
from assay.monitoring.performance import at_threshold, series, summary, threshold_table
from assay.monitoring.ranked import rank
from assay.monitoring.ranking import average_precision, roc_auc
from assay.records import DAY_MS

MATURED_MS = 20 * DAY_MS


def table(n: int = 3000, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return 30 days of decisions, some of them logins, and labels of a tenth."""
    rng = np.random.default_rng(seed)
    decisions = pl.DataFrame(
        {
            "event_time": rng.integers(0, 30 * DAY_MS, n),
            "transaction": np.arange(1, n + 1).astype(np.uint64),
            "kind": rng.choice([1, 1, 1, 5, 6], n).astype(np.uint8),
            "amount_ref": rng.integers(-1, 10**12, n),
            "score": np.round(rng.random(n), 2).astype(np.float32),
            "action": rng.integers(0, 4, n).astype(np.uint8),
            "boot": rng.choice([1, 5, 9, 77], n).astype(np.uint64),
        }
    )
    score = decisions["score"].to_numpy().copy()
    score[::50] = np.nan
    decisions = decisions.with_columns(score=score)
    known = rng.choice(n, n // 10, replace=False)
    labels = pl.DataFrame(
        {"transaction": (known + 1).astype(np.uint64), "fraud": rng.random(len(known)) < 0.5}
    )
    return decisions, labels


MODELS = {1: "m-1", 5: "m-2", 9: "m-1"}


def made() -> Judged:
    return judge(*table(), MODELS, MATURED_MS)


def by_hand(model: str | None = None) -> list[dict[str, Any]]:
    """Return the payments as rows, with what is known of each."""
    decisions, labels = table()
    truth = dict(labels.iter_rows())
    out = []
    for row in decisions.iter_rows(named=True):
        row["model"] = MODELS.get(row["boot"], "unknown")
        row["matured"] = row["transaction"] in truth or row["event_time"] <= MATURED_MS
        row["fraud"] = truth.get(row["transaction"], False)
        row["amount"] = max(row["amount_ref"], 0)
        if row["kind"] in (1, 5) and model in (None, row["model"]):
            out.append(row)
    return out


def test_the_summary_follows_its_definitions() -> None:
    """Each figure of a release is what counting its payments one by one gives."""
    judged = made()
    found = {row["model"]: row for row in summary(judged, rank(judged))}
    assert list(found) == ["m-1", "m-2", "unknown"]
    for model, row in found.items():
        rows = by_hand(model)
        known = [r for r in rows if r["matured"]]
        frauds = [r for r in known if r["fraud"]]
        caught = [r for r in frauds if r["action"]]
        flagged = [r for r in known if r["action"]]
        scored = [r for r in known if not np.isnan(r["score"])]
        truth, score = [r["fraud"] for r in scored], [r["score"] for r in scored]
        assert row == {
            "model": model,
            "payments": len(rows),
            "matured": len(known),
            "frauds": len(frauds),
            "flagged": sum(r["action"] > 0 for r in rows),
            "precision": len(caught) / len(flagged),
            "recall": len(caught) / len(frauds),
            "average_precision": pytest.approx(average_precision_score(truth, score)),
            "roc_auc": pytest.approx(roc_auc_score(truth, score)),
            "stopped_fraud_ref": sum(r["amount"] for r in caught),
            "missed_fraud_ref": sum(r["amount"] for r in frauds if not r["action"]),
            "approved_ref": sum(r["amount"] for r in rows if not r["action"]),
            "false_positive_ratio": (len(flagged) - len(caught)) / len(caught),
        }


def test_the_series_adds_up_to_the_summary() -> None:
    """Over its buckets, each count and sum of the series is that of the period."""
    judged = made().of(0)
    found = series(judged, 0, 30 * DAY_MS)
    rows = by_hand("m-1")
    frauds = [r for r in rows if r["matured"] and r["fraud"]]
    assert len(found["bucket_ms"]) <= POINTS_MAX
    assert sum(found["payments"]) == len(rows)
    assert sum(found["frauds"]) == len(frauds)
    money = sum(found["stopped_fraud_ref"]) + sum(found["missed_fraud_ref"])
    assert money == sum(r["amount"] for r in frauds)
    width = found["bucket_ms"][1] - found["bucket_ms"][0]
    last = [r for r in frauds if r["event_time"] // width * width == found["bucket_ms"][-1]]
    assert found["recall"][-1] == (sum(r["action"] > 0 for r in last) / len(last) if last else None)


def test_thresholds_say_what_they_would_have_done() -> None:
    """Each row of the table is what flagging every score from its threshold on gives."""
    ranked = rank(made())
    rows = [r for r in by_hand() if r["matured"] and not np.isnan(r["score"])]
    found = threshold_table(ranked)
    assert 10 < len(found) <= 60
    assert [row["threshold"] for row in found] == sorted({r["threshold"] for r in found})[::-1]
    days = (max(r["event_time"] for r in rows) - min(r["event_time"] for r in rows)) / DAY_MS
    for row in [*found, at_threshold(ranked, 0.505), at_threshold(ranked, 2.0)]:
        assert row is not None
        flagged = [r for r in rows if r["score"] >= row["threshold"]]
        caught = [r for r in flagged if r["fraud"]]
        assert row["flagged"] == len(flagged)
        assert row["flagged_share"] == len(flagged) / len(rows)
        assert row["precision"] == (len(caught) / len(flagged) if flagged else None)
        assert row["recall"] == len(caught) / sum(r["fraud"] for r in rows)
        assert row["stopped_fraud_ref"] == sum(r["amount"] for r in caught)
        assert row["false_positives"] == len(flagged) - len(caught)
        assert row["per_day"] == pytest.approx(len(flagged) / days)


def test_nothing_to_judge() -> None:
    """Without a payment there are no rows, and without a fraud no figures that need one."""
    decisions, labels = table(10)
    none = judge(decisions.clear(), labels.clear(), {}, 0)
    assert (summary(none, rank(none)), threshold_table(rank(none))) == ([], [])
    assert at_threshold(rank(none), 0.5) is None
    assert series(none, 0, DAY_MS)["payments"] == [0] * 96
    young = judge(decisions, labels.clear(), MODELS, -1)
    row = summary(young, rank(young))[0]
    assert (row["matured"], row["precision"], row["recall"], row["roc_auc"]) == (
        0,
        None,
        None,
        None,
    )


@pytest.mark.parametrize("seed", range(5))
def test_ranking_agrees_with_the_reference(seed: int) -> None:
    """Average precision and ROC AUC are scikit-learn's, with many equal scores."""
    rng = np.random.default_rng(seed)
    score = np.sort(np.round(rng.random(500), 1).astype(np.float32))[::-1]
    fraud = rng.random(500) < score
    assert average_precision(score, fraud) == pytest.approx(average_precision_score(fraud, score))
    assert roc_auc(score, fraud) == pytest.approx(roc_auc_score(fraud, score))


@pytest.mark.parametrize("span_ms", [1, 1000, DAY_MS, 365 * DAY_MS, 20_000 * DAY_MS])
@pytest.mark.parametrize("from_ms", [0, 12_345_678])
@pytest.mark.parametrize("least_ms", [1, 60_000, 7_000])
def test_buckets_are_few_and_whole(span_ms: int, from_ms: int, least_ms: int) -> None:
    """Any span is cut into at most 120 buckets, each of whole smaller ones."""
    width = width_ms(from_ms, from_ms + span_ms, least_ms)
    assert width % least_ms == 0
    assert (from_ms + span_ms - 1) // width - from_ms // width < POINTS_MAX
