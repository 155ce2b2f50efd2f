"""The figures that a manifest carries, for each part of the split."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from assay.records import Events
from assay.training import metrics
from assay.training.split import TimeSplit

FLAGGED_SHARES: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
NEVER: Final = np.iinfo(np.int64).max


def evaluate_parts(
    split: TimeSplit,
    scores: dict[str, NDArray[np.float32]],
    events: Events,
    first_report_ms: NDArray[np.int64],
    *,
    seed: int,
) -> dict[str, Any]:
    """Return the metrics of each part and the thresholds that a policy may start from.

    Parameters
    ----------
    split : TimeSplit
    scores : dict
        Part name → calibrated scores of its rows.
    events : ndarray of `EVENT`, shape (n,)
    first_report_ms : ndarray of int64, shape (n_test,)
        From `first_reports`, for the rows of the test part.
    seed : int
        For the intervals.

    Returns
    -------
    dict
        ``train`` (ranking only: the model has seen it), ``calibration``, ``test``, and
        ``thresholds``: chosen on calibration, so that the test part judges them as it
        judges the model.
    """
    out: dict[str, Any] = {}
    for part in split.parts:
        score = scores[part.name]
        if part.name == "train":
            ap = metrics.average_precision(part.fraud, score)
            out["train"] = {"average_precision": ap, "roc_auc": metrics.roc_auc(part.fraud, score)}
        else:
            times = events["event_time"][part.rows]
            out[part.name] = metrics.summary(part.fraud, score, times, seed=seed)
    rows = split.test.rows
    out["test"]["card_precision_at_100"] = metrics.card_precision(
        split.test.fraud,
        scores["test"],
        card=events["card"][rows],
        event_time=events["event_time"][rows],
        first_report_ms=first_report_ms,
    )
    out["thresholds"] = metrics.threshold_table(
        split.calibration.fraud,
        scores["calibration"],
        (split.test.fraud, scores["test"]),
        FLAGGED_SHARES,
    )
    return out


def first_reports(
    card: NDArray[np.uint64],
    fraud: NDArray[np.int8],
    reported_ms: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return, for each of ``rows``, when any fraud of its card was first reported; `NEVER` if not.

    Examples
    --------
    >>> card, fraud = np.array([7, 7, 8], np.uint64), np.array([0, 1, 0], np.int8)
    >>> (first_reports(card, fraud, np.array([0, 5, 0]), np.array([0, 2])) == NEVER).tolist()
    [False, True]
    """
    victims, inverse = np.unique(card[fraud == 1], return_inverse=True)
    first = np.full(len(victims) + 1, NEVER)
    np.minimum.at(first, inverse, reported_ms[fraud == 1])
    place = np.searchsorted(victims, card[rows])
    known = place < len(victims)
    known[known] = victims[place[known]] == card[rows][known]
    return first[np.where(known, place, len(victims))]
