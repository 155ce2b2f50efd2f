from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from assay.monitoring.buckets import POINTS_MAX, width_ms
from assay.monitoring.judged import Judged, judge
from assay.monitoring.performance import FIGURES, at_threshold, series, summary, threshold_table
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
        row["matured"] = row["event_time"] <= MATURED_MS
        row["early"] = row["transaction"] in truth and not row["matured"]
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
        stopped = [r for r in known if r["action"] in (2, 3)]
        scored = [r for r in known if not np.isnan(r["score"])]
        truth, score = [r["fraud"] for r in scored], [r["score"] for r in scored]
        assert row == {
            "model": model,
            "payments": len(rows),
            "matured": len(known),
            "labelled_early": sum(r["early"] for r in rows),
            "frauds": len(frauds),
            "flagged": len(flagged),
            "precision": len(caught) / len(flagged),
            "recall": len(caught) / len(frauds),
            "average_precision": pytest.approx(average_precision_score(truth, score)),
            "roc_auc": pytest.approx(roc_auc_score(truth, score)),
            "stopped_fraud_ref": sum(r["amount"] for r in stopped if r["fraud"]),
            "missed_fraud_ref": sum(r["amount"] for r in frauds if r not in stopped),
            "approved_ref": sum(r["amount"] for r in known if r not in stopped),
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
    assert sum(filter(None, found["frauds"])) == len(frauds)
    money = [*found["stopped_fraud_ref"], *found["missed_fraud_ref"]]
    assert sum(filter(None, money)) == sum(r["amount"] for r in frauds)
    width = found["bucket_ms"][1] - found["bucket_ms"][0]
    i = next(i for i, n in enumerate(found["frauds"]) if n)
    some = [r for r in frauds if r["event_time"] // width == i]
    assert found["recall"][i] == sum(r["action"] > 0 for r in some) / len(some)


def test_young_payments_are_not_judged() -> None:
    """Where nothing is mature all figures are None, whatever is labelled; no 100 % precision."""
    judged = made()
    found = series(judged, 0, 30 * DAY_MS)
    young = [i for i, at in enumerate(found["bucket_ms"]) if at > MATURED_MS]
    assert len(young) > 5
    for name, column in found.items():
        if name not in ("bucket_ms", "payments"):
            assert {column[i] for i in young} == {None}, name
    decisions, labels = table()
    late = judge(decisions.filter(pl.col("event_time") > MATURED_MS), labels, MODELS, MATURED_MS)
    assert [row["labelled_early"] > 10 for row in summary(late, rank(late))] == [True] * 3
    for row in summary(late, rank(late)):
        assert {row[name] for name in (*FIGURES, "average_precision", "roc_auc")} == {None}
    assert threshold_table(rank(late)) == []


def test_a_release_answers_for_its_own_days() -> None:
    """Flagged per day is over the time in which the release decided, with another's cut out."""
    day = np.repeat([0, 1, 2, 3], 24)
    decisions = pl.DataFrame(
        {
            "event_time": np.arange(96) * DAY_MS // 24,
            "transaction": np.arange(96).astype(np.uint64),
            "kind": np.ones(96, np.uint8),
            "amount_ref": np.ones(96, np.int64),
            "score": np.where(day == 2, np.nan, 0.5).astype(np.float32),
            "action": np.zeros(96, np.uint8),
            "boot": np.array([1, 5, 5, 1], np.uint64)[day],
        }
    )
    labels = table()[1].clear()
    ranked = rank(judge(decisions, labels, {1: "m-1", 5: "m-2"}, 30 * DAY_MS))
    row = at_threshold(ranked.of(0), 0.5)
    assert row is not None
    assert (row["flagged"], row["per_day"]) == (48, pytest.approx(48 / (2 - 1 / 24)))
    row = at_threshold(ranked.of(1), 0.5)
    assert row is not None
    assert (row["flagged"], row["per_day"]) == (24, pytest.approx(24 / 2))
    assert ranked.days == pytest.approx(4 - 1 / 24)


def test_thresholds_say_what_they_would_have_done() -> None:
    """Each row of the table is what flagging every score from its threshold on gives."""
    ranked = rank(made())
    rows = [r for r in by_hand() if r["matured"] and not np.isnan(r["score"])]
    found = threshold_table(ranked)
    assert 10 < len(found) <= 60
    assert [row["threshold"] for row in found] == sorted({r["threshold"] for r in found})[::-1]
    times = [r["event_time"] for r in by_hand() if r["matured"]]
    days = (max(times) - min(times)) / DAY_MS
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
    assert series(none, 0, DAY_MS)["payments"] == [0] * 24
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
