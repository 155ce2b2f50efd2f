"""Payments whose truth is known, by descending score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.monitoring.judged import Bools, Ints, Judged
from assay.records import DAY_MS


@dataclass(frozen=True, slots=True)
class Ranked:
    """n matured payments with a score, the riskiest first.

    Attributes
    ----------
    score : ndarray of float32, shape (n,)
        Descending.
    fraud : ndarray of bool, shape (n,)
    amount_ref : ndarray of int64, shape (n,)
    model : ndarray of int64, shape (n,)
        Which of the models decided, as in `Judged`.
    days_of : ndarray of float64, shape (models,)
        How long each of the models decided, in days of stream time; 0 for one that is left out.
    """

    score: NDArray[np.float32]
    fraud: Bools
    amount_ref: Ints
    model: Ints
    days_of: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.score)

    @property
    def days(self) -> float:
        """How long they were decided for, an hour at least."""
        return max(float(self.days_of.sum()), 1 / 24)

    def of(self, model: int) -> Ranked:
        """Return the payments that one model decided."""
        rows = np.flatnonzero(self.model == model)
        return Ranked(
            self.score[rows],
            self.fraud[rows],
            self.amount_ref[rows],
            self.model[rows],
            np.where(np.arange(len(self.days_of)) == model, self.days_of, 0),
        )


def rank(judged: Judged) -> Ranked:
    """Return the matured payments with a score, by descending score."""
    rows = np.flatnonzero(judged.matured & ~np.isnan(judged.score))
    # Scores are not below 0, so that their bits rise as they do; sorting bits and places
    # together takes a fraction of the time of an argsort.
    fall = np.uint64(0xFFFFFFFF) - (judged.score[rows] + np.float32(0)).view(np.uint32)
    keys = np.sort(fall << np.uint64(32) | np.arange(len(rows), dtype=np.uint64))
    rows = rows[(keys & np.uint64(0xFFFFFFFF)).astype(np.intp)]
    return Ranked(
        judged.score[rows],
        judged.fraud[rows],
        judged.amount_ref[rows],
        judged.model[rows],
        _days_of(judged),
    )


def _days_of(judged: Judged) -> NDArray[np.float64]:
    """Return how long each model decided: from each of its payments to the next of any model."""
    rows = np.flatnonzero(judged.matured)
    rows = rows[np.argsort(judged.time_ms[rows], kind="stable")]
    until_next_ms = np.diff(judged.time_ms[rows])
    return np.bincount(judged.model[rows[:-1]], until_next_ms, len(judged.models)) / DAY_MS
