from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from assay.records import DAY_MS
from assay.training import metrics
from assay.training.metrics import _areas, _day_counts

NEVER = np.iinfo(np.int64).max


def sample(
    seed: int, n: int = 400, levels: int = 30
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.int64]]:
    """Return frauds, scores with ties and days."""
    rng = np.random.default_rng(seed)
    score = rng.integers(0, levels, n) / levels
    fraud = rng.random(n) < score**2
    fraud[:2] = True, False
    return fraud, score.astype(np.float32), rng.integers(0, 9, n)


@given(st.integers(0, 10_000), st.integers(2, 400))
@settings(max_examples=50, deadline=None)
def test_resampled_areas_equal_those_of_the_repeated_rows(seed: int, levels: int) -> None:
    """A resample's areas are scikit-learn's on the rows of its days, ties included."""
    fraud, score, day = sample(seed, levels=levels)
    weight = np.random.default_rng(seed).integers(0, 3, 9).astype(float)
    weight[day[:2]] = 1
    got = _areas(weight[None], *_day_counts(fraud, score, day, 9))[:, 0]
    rows = np.repeat(np.arange(len(day)), weight[day].astype(int))
    want = (
        average_precision_score(fraud[rows], score[rows]),
        roc_auc_score(fraud[rows], score[rows]),
    )
    assert got == pytest.approx(want, abs=1e-12)


def test_interval_holds_the_estimate_and_is_repeatable() -> None:
    """The interval surrounds the figure, stays in [0, 1], and a seed fixes it."""
    fraud, score, day = sample(1, 4000, 500)
    times = day * DAY_MS
    first = metrics.intervals(fraud, score, times, seed=3)
    assert first == metrics.intervals(fraud, score, times, seed=3)
    assert first != metrics.intervals(fraud, score, times, seed=4)
    for name, value in (
        ("average_precision", metrics.average_precision(fraud, score)),
        ("roc_auc", metrics.roc_auc(fraud, score)),
    ):
        low, high = first[name]
        assert 0 <= low < value < high <= 1


def test_interval_widens_when_frauds_come_in_bursts() -> None:
    """Frauds that share days carry less information than as many spread over all days."""
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(30), 200)
    spread = rng.random(len(day)) < 0.05
    burst = np.isin(day, [3, 17]) & (rng.random(len(day)) < 0.7)
    width = []
    for fraud in (spread, burst):
        score = rng.normal(size=len(day)) + 1.5 * fraud
        low, high = metrics.intervals(fraud, score, day * DAY_MS, seed=1)["average_precision"]
        width.append(high - low)
    assert width[1] > 2 * width[0]


@given(st.integers(0, 10_000), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_a_budget_is_never_exceeded(seed: int, share: float) -> None:
    """The threshold flags at most the share asked for, and one step lower flags more."""
    _, score, _ = sample(seed)
    threshold = metrics.threshold_at_share(score, share)
    assert (score >= threshold).mean() <= share
    lower = score[score < threshold]
    if len(lower):
        assert int((score >= lower.max()).sum()) > int(share * len(score))


def test_operating_point() -> None:
    """Precision, recall and rates are those counted by hand."""
    fraud = np.array([True, True, False, False, False])
    score = np.array([0.9, 0.2, 0.8, 0.1, 0.1])
    point = metrics.operating_point(fraud, score, 0.5)
    assert (point.flagged, point.precision, point.recall) == (0.4, 0.5, 0.5)
    assert point.false_positive_rate == pytest.approx(1 / 3)
    assert metrics.operating_point(fraud, score, 1.0).precision == 1.0
    assert metrics.recall_at_fpr(fraud, score, 0.34) == 0.5
    assert metrics.recall_at_budget(fraud, score, 0.2) == 0.5


def test_calibration_error_tells_honest_scores_from_inflated_ones() -> None:
    """Scores drawn as probabilities have almost no error; doubled ones have their excess."""
    rng = np.random.default_rng(0)
    score = rng.random(200_000) ** 4 / 2
    fraud = rng.random(len(score)) < score
    assert metrics.calibration_error(fraud, score) < 0.004
    assert metrics.calibration_error(fraud, 2 * score) == pytest.approx(score.mean(), rel=0.05)


def test_card_precision_by_hand() -> None:
    """A found card leaves, a card reported before the day leaves, and days are averaged."""
    day = np.array([0, 0, 0, 1, 1, 1]) * DAY_MS + 5
    card = np.array([1, 1, 2, 1, 2, 3], np.uint64)
    score = np.array([0.9, 0.1, 0.5, 0.9, 0.8, 0.7])
    fraud = np.array([False, True, False, True, True, False])
    never = np.full(6, NEVER)

    def at(top: int, reports: NDArray[np.int64]) -> float:
        return metrics.card_precision(
            fraud, score, card=card, event_time=day, first_report_ms=reports, top=top
        )

    assert at(1, never) == 1.0  # card 1 on day 0; it leaves, and card 2 leads day 1
    assert at(2, never) == 0.5
    reported = np.where(card == 2, DAY_MS, NEVER)
    assert at(1, reported) == 0.5  # card 2 was reported by the start of day 1: card 3 leads


def test_thresholds_are_chosen_on_one_part_and_judged_on_another() -> None:
    """Each row of the table has one threshold and two sets of shares."""
    fraud, score, _ = sample(1, 4000, 4000)
    other, held, _ = sample(2, 4000, 4000)
    table = metrics.threshold_table(fraud, score, (other, held), (0.0, 0.01, 0.1))
    assert len(table) == 2
    for row, share in zip(table, (0.01, 0.1), strict=True):
        assert row["chosen_on"]["threshold"] == row["test"]["threshold"]
        assert 0.9 * share <= row["chosen_on"]["flagged"] <= share
        assert (
            row["test"]["recall"]
            == metrics.operating_point(other, held, row["test"]["threshold"]).recall
        )
