from __future__ import annotations

import polars as pl

from assay.records import DAY_MS
from assay.simulation import WorldData
from assay.simulation.labels import REPORTED


def told(payments: pl.DataFrame, data: WorldData) -> pl.DataFrame:
    said = data.labels.rename({"fraud": "said"})
    days = (pl.col("reported_ms") - pl.col("event_time")) / DAY_MS
    return payments.join(said, on="transaction_id", how="left").with_columns(days=days)


def test_labels_name_payments_once(payments: pl.DataFrame, data: WorldData) -> None:
    """Every label is about a payment, no payment has two, and they are in order of report."""
    assert data.labels["transaction_id"].is_unique().all()
    assert data.labels["transaction_id"].is_in(payments["transaction_id"].implode()).all()
    assert data.labels["reported_ms"].is_sorted()


def test_labels_arrive_late(payments: pl.DataFrame, data: WorldData) -> None:
    """A report takes half an hour at least, days for most frauds, weeks for some."""
    rows = told(payments, data).filter(pl.col("fraud"), pl.col("said"))
    assert rows["days"].min() > 0.02  # type: ignore[operator]
    assert 3 < rows["days"].median() < 12  # type: ignore[operator]
    assert rows["days"].quantile(0.95) > 20  # type: ignore[operator]
    kinds = dict(rows.group_by("fraud_kind").agg(pl.col("days").median()).iter_rows())
    assert kinds["first_party"] > 3 * kinds["account_takeover"]
    assert set(kinds) == set(REPORTED) - {"voucher_ring"}


def test_some_labels_are_missing_or_wrong(payments: pl.DataFrame, data: WorldData) -> None:
    """Some frauds are never reported or wrongly cleared; some honest payments are accused."""
    rows = told(payments, data)
    fraud, honest = rows.filter("fraud"), rows.filter(~pl.col("fraud"))
    assert 0.05 < fraud["said"].is_null().mean() < 0.2  # type: ignore[operator]
    assert 0 < (~fraud["said"].drop_nulls()).mean() < 0.06  # type: ignore[operator]
    accused = honest.filter(pl.col("said").fill_null(value=False))
    assert 0 < accused.height < 0.001 * honest.height
    assert 0.001 < honest["said"].is_not_null().mean() < 0.01  # type: ignore[operator]
