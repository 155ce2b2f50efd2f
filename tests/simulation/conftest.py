from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from assay.records import DAY_MS, SCORED_KINDS
from assay.simulation import Event, World, WorldData, WorldSettings

START_MS = int(dt.datetime(2025, 3, 3, tzinfo=dt.UTC).timestamp() * 1000)  # a Monday
SCORED = [kind.name for kind in SCORED_KINDS]


def small_settings(*events: Event, seed: int = 7, days: int = 56) -> WorldSettings:
    return WorldSettings(
        seed=seed,
        start_ms=START_MS,
        end_ms=START_MS + days * DAY_MS,
        customers=1_500,
        merchants=1_200,
        transactions=60_000,
        events=events,
    )


def rows_with_truth(data: WorldData) -> pl.DataFrame:
    """Join the truth, add the local time, and keep payments only."""
    local = pl.col("event_time") + pl.col("utc_offset_min").cast(pl.Int64) * 60_000
    return (
        data.transactions.join(data.truth, on="transaction_id", maintain_order="left")
        .with_columns(
            local=local.cast(pl.Datetime("ms")), time=pl.col("event_time").cast(pl.Datetime("ms"))
        )
        .filter(pl.col("kind").is_in(SCORED))
    )


@pytest.fixture(scope="session")
def world() -> World:
    return World(small_settings())


@pytest.fixture(scope="session")
def data(world: World) -> WorldData:
    return world.generate()


@pytest.fixture(scope="session")
def payments(data: WorldData) -> pl.DataFrame:
    return rows_with_truth(data)
