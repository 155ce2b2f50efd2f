from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from assay.errors import TrainingError
from assay.records import DAY_MS
from assay.training.split import FRAUDS_MIN, TimeSplit, labels_known, time_split

START_MS = 1_700_006_400_000


def history(
    seed: int, days: float, n: int = 3000, fraud_share: float = 0.2
) -> tuple[NDArray[Any], ...]:
    """Return event times in random order, labels, report times and scored rows."""
    rng = np.random.default_rng(seed)
    times = START_MS + rng.integers(0, int(days * DAY_MS), n)
    fraud = rng.choice(np.array([-1, 0, 1], np.int8), n, p=[0.1, 0.9 - fraud_share, fraud_share])
    reported = times + rng.integers(0, 20 * DAY_MS, n)
    return times, fraud, reported, rng.random(n) < 0.9


@given(st.integers(0, 10_000), st.floats(20, 400), st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_nothing_from_after_a_cut_is_used_before_it(
    seed: int, days: float, delay_days: int
) -> None:
    """Parts are disjoint and ordered, gaps are kept, and no label is known before its report."""
    times, fraud, reported, scored = history(seed, days)
    try:
        split = time_split(times, fraud, reported, scored, label_delay_ms=delay_days * DAY_MS)
    except TrainingError:
        return
    rows = np.concatenate([part.rows for part in split.parts])
    assert len(np.unique(rows)) == len(rows)
    assert scored[rows].all()
    for part in split.parts:
        assert (np.diff(times[part.rows]) >= 0).all()
        assert times[part.rows].min() >= part.start_ms
        assert times[part.rows].max() < part.end_ms
        assert (fraud[part.rows[part.fraud]] == 1).all()
        if part.known_ms is not None:
            assert (reported[part.rows[part.fraud]] <= part.known_ms).all()
            assert part.known_ms - part.end_ms >= split.label_delay_ms
    assert split.train.known_ms == split.calibration.start_ms
    assert split.calibration.known_ms == split.test.start_ms
    assert split.train.start_ms - split.start_ms == int(
        min(30 * DAY_MS, 0.2 * (split.end_ms - split.start_ms))
    )


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_order_of_rows_does_not_matter(seed: int) -> None:
    """A shuffled table gives the same parts."""
    times, fraud, reported, scored = history(seed, 60)
    times = START_MS + np.random.default_rng(seed).permutation(len(times)) * (
        60 * DAY_MS // len(times)
    )
    order = np.random.default_rng(seed + 1).permutation(len(times))
    plain = time_split(times, fraud, reported, scored, label_delay_ms=DAY_MS)
    mixed = time_split(
        times[order], fraud[order], reported[order], scored[order], label_delay_ms=DAY_MS
    )
    for a, b in zip(plain.parts, mixed.parts, strict=True):
        assert np.array_equal(a.rows, order[b.rows])
        assert np.array_equal(a.fraud, b.fraud)


def test_late_report_counts_in_test_only() -> None:
    """A fraud reported after the end of history is genuine for training, fraud for the test."""
    times, fraud, reported, scored = history(1, 90)
    at_once = time_split(times, fraud, times, scored, label_delay_ms=7 * DAY_MS)
    reported = np.where(np.arange(len(times)) % 2, times, times.max() + DAY_MS)
    split = time_split(times, fraud, reported, scored, label_delay_ms=7 * DAY_MS)
    assert split.train.frauds < at_once.train.frauds
    assert split.test.frauds == at_once.test.frauds


def test_labels_known_so_far() -> None:
    """Only frauds reported by the moment count, the moment included; unknown never does."""
    fraud, reported = np.array([1, 1, 0, -1, 1], np.int8), np.array([4, 5, 1, 1, 6])
    assert labels_known(fraud, reported, 5).tolist() == [True, True, False, False, False]
    assert labels_known(fraud, reported, None).tolist() == [True, True, False, False, True]


def test_short_history_is_refused() -> None:
    """A span that cannot hold three parts names its days and what takes them."""
    times, fraud, reported, scored = history(2, 15)
    with pytest.raises(TrainingError, match=r"spans 15\.0 days.*two label delays 14\.0"):
        time_split(times, fraud, reported, scored, label_delay_ms=7 * DAY_MS)


@pytest.mark.parametrize("share", [0.0, 0.005])
def test_too_few_frauds_are_refused(share: float) -> None:
    """A part without enough frauds is named with its count."""
    times, fraud, reported, scored = history(3, 90, fraud_share=share)
    with pytest.raises(
        TrainingError, match=rf"train part holds \d+ .*{FRAUDS_MIN['train']} or more"
    ):
        time_split(times, fraud, reported, scored, label_delay_ms=7 * DAY_MS)


def test_nothing_scored_is_refused() -> None:
    """A table of logins only gives no model."""
    times, fraud, reported, scored = history(3, 90)
    with pytest.raises(TrainingError, match="kind that is scored"):
        time_split(times, fraud, reported, np.zeros_like(scored), label_delay_ms=0)


def test_split_prints_dates_rows_and_frauds() -> None:
    """A person sees each part's dates and counts; the manifest gets the same numbers."""
    split = time_split(*history(4, 90), label_delay_ms=7 * DAY_MS)
    assert isinstance(split, TimeSplit)
    lines = str(split).splitlines()
    assert lines[0].startswith("train        2023-12-03 ")
    assert f"{len(split.train.rows):,} rows" in lines[0]
    assert f"{split.test.frauds:,} frauds" in lines[2]
    assert "7 days" in lines[3]
    assert split.facts()["test"]["frauds"] == split.test.frauds
    assert split.facts()["test"]["labels_known_ms"] is None
