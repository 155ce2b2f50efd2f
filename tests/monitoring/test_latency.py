from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from assay.control.database import open_control
from assay.control.schema import LATENCY
from assay.monitoring.latency import Latency, quantile_ms
from assay.records import DAY_MS

BOUNDS = [1.0, 2.0, 5.0, 10.0]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_control(tmp_path / "control.sqlite")
    with engine.begin() as found:
        yield found
    engine.dispose()


def counters(*counts: int, refused: int = 0, errors: int = 0) -> dict[str, Any]:
    document = {"le": BOUNDS, "counts": np.cumsum(counts).tolist()}
    return {"latency_ms": document, "refused": refused, "errors": errors}


def rows(connection: Connection) -> list[Any]:
    return list(connection.execute(select(LATENCY).order_by(LATENCY.c.at_ms)))


def test_a_row_is_the_difference_of_two_readings(connection: Connection) -> None:
    """Only what came since the reading before counts, and the first reading has none before."""
    latency = Latency()
    latency.reading(connection, counters(90, 0, 0, 0, 10, refused=2), 10_000, 5)
    assert rows(connection) == []
    latency.reading(connection, counters(90, 10, 0, 0, 10, refused=3, errors=1), 12_000, 7)
    (row,) = rows(connection)
    assert (row.at_ms, row.stream_ms, row.decisions, row.per_s) == (12_000, 7, 10, 5.0)
    assert (row.p50_ms, row.p99_ms, row.refused, row.errors) == (1.5, pytest.approx(1.99), 1, 1)


def test_a_quiet_second_has_no_latency(connection: Connection) -> None:
    """Without decisions there is a row, and no quantile."""
    latency = Latency()
    for at_ms in (1000, 2000):
        latency.reading(connection, counters(5, 0, 0, 0, 0), at_ms, 0)
    (row,) = rows(connection)
    assert (row.decisions, row.per_s, row.p50_ms, row.p99_ms) == (0, 0.0, None, None)


def test_a_restarted_scorer_counts_from_zero(connection: Connection) -> None:
    """Counters that went down are taken as they are, and nothing is negative."""
    latency = Latency()
    latency.reading(connection, counters(90, 0, 0, 0, 0, refused=5), 1000, 0)
    latency.reading(connection, counters(0, 4, 0, 0, 0, refused=1), 2000, 0)
    (row,) = rows(connection)
    assert (row.decisions, row.refused, row.p50_ms) == (4, 1, 1.5)


def test_old_rows_are_removed(connection: Connection) -> None:
    """Rows older than seven days of wall time go."""
    latency = Latency()
    for day in (0, 1, 2, 9):
        latency.reading(connection, counters(day, 0, 0, 0, 0), day * DAY_MS + 1, 0)
    assert [row.at_ms // DAY_MS for row in rows(connection)] == [2, 9]


def test_beyond_the_last_bound() -> None:
    """What is slower than every bound is said to be the last bound."""
    assert quantile_ms(BOUNDS, [0, 0, 0, 0, 9], 0.5) == 10.0


@given(st.lists(st.integers(0, 50), min_size=5, max_size=5), st.floats(0.01, 1))
def test_a_quantile_lies_in_its_bucket(counts: list[int], q: float) -> None:
    """A quantile lies within the bucket that holds the value of its rank."""
    cumulative = np.cumsum(counts).tolist()
    found = quantile_ms(BOUNDS, cumulative, q)
    if cumulative[-1] == 0:
        assert found is None
        return
    place = int(np.searchsorted(cumulative, q * cumulative[-1]))
    low, high = [0.0, *BOUNDS][min(place, 4)], [*BOUNDS, 10.0][place]
    assert found is not None
    assert low <= found <= high
