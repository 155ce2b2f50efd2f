"""How good scores are: ranking, a budget of reviews, calibration, and how sure we are of it.

Everywhere ``fraud`` is bool (n,), ``score`` float (n,) in [0, 1] with higher riskier.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from assay.records import DAY_MS

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating]

RESAMPLES: Final = 200
CALIBRATION_BINS: Final = 20


@dataclass(frozen=True)
class Operating:
    """What flagging every score at or above ``threshold`` gives.

    `flagged`, `precision`, `recall` and `false_positive_rate` are shares in [0, 1];
    precision is 1 when nothing is flagged.
    """

    threshold: float
    flagged: float
    precision: float
    recall: float
    false_positive_rate: float


def average_precision(fraud: Bools, score: Floats) -> float:
    """Return the average precision (scikit-learn's): the area under precision over recall."""
    return float(average_precision_score(fraud, score))


def roc_auc(fraud: Bools, score: Floats) -> float:
    """Return the chance that a fraud scores above a genuine row (scikit-learn's)."""
    return float(roc_auc_score(fraud, score))


def brier(fraud: Bools, score: Floats) -> float:
    """Return the mean squared distance of score and truth (scikit-learn's); lower is better."""
    return float(brier_score_loss(fraud, score))


def operating_point(fraud: Bools, score: Floats, threshold: float) -> Operating:
    """Return precision, recall and shares when scores ≥ ``threshold`` are flagged.

    Examples
    --------
    >>> operating_point(np.array([True, False]), np.array([0.9, 0.1]), 0.5).recall
    1.0
    """
    flagged = score >= threshold
    hits = int((flagged & fraud).sum())
    n_flagged, n_fraud = int(flagged.sum()), int(fraud.sum())
    return Operating(
        threshold=float(threshold),
        flagged=n_flagged / len(fraud),
        precision=hits / n_flagged if n_flagged else 1.0,
        recall=hits / n_fraud,
        false_positive_rate=(n_flagged - hits) / (len(fraud) - n_fraud),
    )


def threshold_at_share(score: Floats, share: float) -> float:
    """Return the lowest threshold that flags at most ``share`` of the rows.

    Rows with equal scores are flagged together, so a plateau may flag fewer; infinity when
    even the highest score is shared by too many.

    Examples
    --------
    >>> threshold_at_share(np.array([0.1, 0.2, 0.3, 0.4]), 0.5)
    0.3
    """
    ordered = np.sort(score)[::-1]
    count = int(share * len(score))
    if count == 0:
        return float("inf")
    if count == len(score):
        return float(ordered[-1])
    above = ordered[:count][ordered[:count] > ordered[count]]
    return float(above[-1]) if len(above) else float("inf")


def recall_at_budget(fraud: Bools, score: Floats, share: float) -> float:
    """Return the share of frauds among the ``share`` of rows with the highest scores."""
    return operating_point(fraud, score, threshold_at_share(score, share)).recall


def recall_at_fpr(fraud: Bools, score: Floats, rate: float = 0.01) -> float:
    """Return the share of frauds caught while at most ``rate`` of genuine rows are flagged."""
    return float((score[fraud] >= threshold_at_share(score[~fraud], rate)).mean())


def calibration_error(fraud: Bools, score: Floats, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error over bins of equally many rows.

    The mean over bins of |mean score - share of fraud|. Bins of equal width would put nearly
    every row of a rare event into the first one.
    """
    order = np.argsort(score, kind="stable")
    gap = score[order].astype(np.float64) - fraud[order]
    return float(sum(abs(part.sum()) for part in np.array_split(gap, bins)) / len(gap))


def card_precision(
    fraud: Bools,
    score: Floats,
    *,
    card: NDArray[np.uint64],
    event_time: NDArray[np.int64],
    first_report_ms: NDArray[np.int64],
    top: int = 100,
) -> float:
    """Return card precision: the mean share of compromised cards among the riskiest per day.

    Each UTC day the cards are ranked by their highest score and ``top`` are kept; precision is
    the share with at least one fraud that day. A card found leaves the later days, and so do
    cards with a fraud reported before the day began. Defined in Le Borgne et al., *Reproducible
    Machine Learning for Credit Card Fraud Detection*, 2022, chapter 4.

    Parameters
    ----------
    card : ndarray of uint64, shape (n,)
        Key hashes.
    event_time : ndarray of int64, shape (n,)
        UTC milliseconds.
    first_report_ms : ndarray of int64, shape (n,)
        When a fraud of the row's card was first reported; the largest int64 when never.
    top : int
        Cards that people can look at in a day.
    """
    day = event_time // DAY_MS
    unknown = first_report_ms > day * DAY_MS
    found = np.empty(0, np.uint64)
    shares = []
    for today in np.unique(day):
        rows = np.flatnonzero((day == today) & unknown & ~np.isin(card, found))
        cards, inverse = np.unique(card[rows], return_inverse=True)
        highest = np.full(len(cards), -np.inf)
        np.maximum.at(highest, inverse, score[rows])
        compromised = np.bincount(inverse, fraud[rows], minlength=len(cards)) > 0
        kept = np.argsort(-highest, kind="stable")[:top]
        hits = kept[compromised[kept]]
        shares.append(len(hits) / top)
        found = np.union1d(found, cards[hits])
    return float(np.mean(shares))


def intervals(
    fraud: Bools,
    score: Floats,
    event_time: NDArray[np.int64],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, tuple[float, float]]:
    """Return 95 % bootstrap intervals of average precision and ROC AUC.

    Whole UTC days are drawn with replacement, not rows: the frauds of one attack come together,
    so drawing rows would count them as independent and make the interval too narrow.
    With less than a week of days it is still too narrow.

    Returns
    -------
    dict
        ``average_precision`` and ``roc_auc``, each (low, high).
    """
    day_starts, day = np.unique(event_time // DAY_MS, return_inverse=True)
    n_days = len(day_starts)
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, n_days, (resamples, n_days))
    weight = np.zeros((resamples, n_days))
    np.add.at(weight, (np.arange(resamples)[:, None], draws), 1.0)
    areas = _areas(weight, *_day_counts(fraud, score, day, n_days))
    low, high = np.nanpercentile(areas, [2.5, 97.5], axis=1)
    names = ("average_precision", "roc_auc")
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _day_counts(
    fraud: Bools, score: Floats, day: NDArray[np.int64], n_days: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return per day: frauds at, genuine rows at or above and above, each score a fraud has.

    Both areas need no other thresholds, so a resample is a product of small matrices.
    """
    levels = np.unique(score[fraud])
    at, least, above = (np.zeros((n_days, len(levels))) for _ in range(3))
    np.add.at(at, (day[fraud], np.searchsorted(levels, score[fraud])), 1.0)
    genuine = np.zeros(n_days)
    for number in range(n_days):
        ordered = np.sort(score[(day == number) & ~fraud])
        genuine[number] = len(ordered)
        least[number] = len(ordered) - np.searchsorted(ordered, levels, "left")
        above[number] = len(ordered) - np.searchsorted(ordered, levels, "right")
    return at, least, above, genuine


def _areas(
    weight: NDArray[np.float64],
    at: NDArray[np.float64],
    least: NDArray[np.float64],
    above: NDArray[np.float64],
    genuine: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return average precision and ROC AUC of each resample, (2, resamples).

    A resample without a fraud or without a genuine row has no area: NaN.
    """
    hits_at, misses, misses_above = weight @ at, weight @ least, weight @ above
    n_fraud, n_genuine = hits_at.sum(axis=1), weight @ genuine
    hits = np.cumsum(hits_at[:, ::-1], axis=1)[:, ::-1]
    precision = hits / np.maximum(hits + misses, 1.0)
    below = n_genuine[:, None] - (misses + misses_above) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        ap = (hits_at * precision).sum(axis=1) / n_fraud
        auc = (hits_at * below).sum(axis=1) / (n_fraud * n_genuine)
    return np.stack([np.where(n_genuine > 0, ap, np.nan), auc])


def summary(
    fraud: Bools, score: Floats, event_time: NDArray[np.int64], *, seed: int
) -> dict[str, float | list[float]]:
    """Return every figure of one part that needs no card: the manifest's numbers."""
    interval = intervals(fraud, score, event_time, seed=seed)
    return {
        "average_precision": average_precision(fraud, score),
        "average_precision_95": list(interval["average_precision"]),
        "roc_auc": roc_auc(fraud, score),
        "roc_auc_95": list(interval["roc_auc"]),
        "fraud_share": float(fraud.mean()),
        "mean_score": float(score.mean(dtype=np.float64)),
        "brier": brier(fraud, score),
        "calibration_error": calibration_error(fraud, score),
        "recall_at_1pct_fpr": recall_at_fpr(fraud, score, 0.01),
        **{
            f"recall_at_{share:g}pct_reviewed": recall_at_budget(fraud, score, share / 100)
            for share in (0.1, 0.5, 1.0)
        },
    }


def threshold_table(
    fraud: Bools, score: Floats, held: tuple[Bools, Floats], shares: tuple[float, ...]
) -> list[dict[str, dict[str, float]]]:
    """Return thresholds chosen on one part and how they do there and on another.

    Parameters
    ----------
    fraud, score
        The part the thresholds are chosen on.
    held : tuple
        Fraud and score of the part that only judges.
    shares : tuple of float
        Shares of rows to flag; one that no threshold reaches is left out.
    """
    table = []
    for share in shares:
        threshold = threshold_at_share(score, share)
        if np.isfinite(threshold):
            chosen = asdict(operating_point(fraud, score, threshold))
            judged = asdict(operating_point(*held, threshold))
            table.append({"chosen_on": chosen, "test": judged})
    return table
