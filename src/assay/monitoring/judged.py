"""Decisions beside the truth as far as it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.records import SCORED_KINDS, Action

COLUMNS: Final = (
    "event_time",
    "transaction",
    "kind",
    "amount_ref",
    "score",
    "action",
    "boot",
)
"""What is read of the stream's table."""

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judged:
    """n payments with what was decided and what is known of them.

    Attributes
    ----------
    time_ms : ndarray of int64, shape (n,)
    score : ndarray of float32, shape (n,)
        NaN is no score.
    amount_ref : ndarray of int64, shape (n,)
        Minor units of the reference currency; 0 where unknown.
    flagged : ndarray of bool, shape (n,)
        Anything but approved.
    stopped : ndarray of bool, shape (n,)
        Declined or held for review: its money did not move.
    fraud : ndarray of bool, shape (n,)
        Labelled as fraud.
    matured : ndarray of bool, shape (n,)
        So old that no label means genuine. What is younger is not judged, labelled or not:
        frauds are reported early and nobody reports what is in order.
    early : ndarray of bool, shape (n,)
        Labelled, but not matured.
    model : ndarray of int64, shape (n,)
        Which of `models` decided.
    models : tuple of str
    """

    time_ms: Ints
    score: NDArray[np.float32]
    amount_ref: Ints
    flagged: Bools
    stopped: Bools
    fraud: Bools
    matured: Bools
    early: Bools
    model: Ints
    models: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.time_ms)

    def of(self, model: int) -> Judged:
        """Return the payments that one model decided."""
        rows = np.flatnonzero(self.model == model)
        return Judged(
            self.time_ms[rows],
            self.score[rows],
            self.amount_ref[rows],
            self.flagged[rows],
            self.stopped[rows],
            self.fraud[rows],
            self.matured[rows],
            self.early[rows],
            self.model[rows],
            self.models,
        )

    def tally(self, group: Ints, groups: int) -> tuple[Ints, Ints]:
        """Count payments and their money by group, maturity, what was done, and label.

        Parameters
        ----------
        group : ndarray of int64, shape (n,)
            In [0, groups).

        Returns
        -------
        tuple of ndarray of int64, each of shape (groups, 2, 2, 2)
            Payments, by group, matured, flagged and fraud; and minor units, by group, matured,
            stopped and fraud.
        """
        key = group * 8 + self.matured * 4 + self.fraud
        counts = np.bincount(key + self.flagged * 2, minlength=groups * 8)
        money = np.zeros(groups * 8, np.int64)
        np.add.at(money, key + self.stopped * 2, self.amount_ref)
        shape = (groups, 2, 2, 2)
        return counts.reshape(shape), money.reshape(shape)


def judge(
    decisions: pl.DataFrame, labels: pl.DataFrame, model_of: dict[int, str], matured_ms: int
) -> Judged:
    """Put labels beside payments.

    Parameters
    ----------
    decisions : DataFrame
        `COLUMNS`; kinds that are not scored are left out.
    labels : DataFrame
        ``transaction`` (unique) and ``fraud``.
    model_of : dict
        From the number of a boot record to its model; one that is not there is ``unknown``.
    matured_ms : int
        Event time up to which payments are judged; one without a label is genuine.
    """
    payments = decisions.filter(pl.col("kind").is_in([int(kind) for kind in SCORED_KINDS]))
    fraud, known = np.zeros(len(payments), np.bool_), np.zeros(len(payments), np.bool_)
    hits = (
        payments.select("transaction")
        .with_row_index("row")
        .join(labels.select("transaction", "fraud"), on="transaction", how="inner")
    )
    known[hits["row"].to_numpy()] = True
    fraud[hits["row"].to_numpy()] = hits["fraud"].to_numpy()
    time_ms, action = payments["event_time"].to_numpy(), payments["action"].to_numpy()
    matured = time_ms <= matured_ms
    boots = payments["boot"].unique().sort().to_numpy()
    names = [model_of.get(boot, "unknown") for boot in boots.tolist()]
    models = sorted(set(names))
    place = np.array([models.index(name) for name in names], np.int64)
    return Judged(
        time_ms,
        payments["score"].to_numpy(),
        np.maximum(payments["amount_ref"].to_numpy(), 0),
        action != Action.approve,
        (action == Action.decline) | (action == Action.review),
        fraud,
        matured,
        known & ~matured,
        place[np.searchsorted(boots, payments["boot"].to_numpy())],
        tuple(models),
    )
