"""What a world gives: four tables."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class WorldData:
    """The tables of one world.

    Attributes
    ----------
    transactions : polars.DataFrame
        Sorted by event_time and transaction_id; columns are named as the fields of
        `records.Transaction`; null is unknown.
    truth : polars.DataFrame
        transaction_id, fraud, fraud_kind, campaign for every row of `transactions`; the last two
        are null when it is honest. Never for a model.
    labels : polars.DataFrame
        transaction_id, fraud, reported_ms in order of report: what the bank learns.
    fx : polars.DataFrame
        date (ISO text), currency, rate: how many units of the reference currency one unit buys.
    """

    transactions: pl.DataFrame
    truth: pl.DataFrame
    labels: pl.DataFrame
    fx: pl.DataFrame
