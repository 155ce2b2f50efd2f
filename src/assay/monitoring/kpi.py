"""Volume, actions and money, by bucket of stream time and by model."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.dialects.sqlite import insert

from assay.control.schema import KPI
from assay.records import SCORED_KINDS, Action, Batch, Flag, Mode

SUMS: Final = tuple(column.name for column in KPI.columns if not column.primary_key)

Ints = NDArray[np.int64]


class Kpi:
    """Counts what was decided since it was last written.

    Parameters
    ----------
    bucket_ms : int
        Width of a bucket.
    """

    def __init__(self, bucket_ms: int) -> None:
        self._bucket_ms = bucket_ms
        self._waiting: dict[tuple[int, str], dict[str, Any]] = {}

    def take(self, batch: Batch, time_ms: Ints, models: list[str], model: Ints) -> None:
        """Count decisions.

        Parameters
        ----------
        batch : Batch
            n decisions.
        time_ms : ndarray of int64, shape (n,)
            Stream time of each.
        models : list of str
        model : ndarray of int64, shape (n,)
            Which of the models decided.
        """
        key = time_ms // self._bucket_ms * len(models) + model
        found, inverse = np.unique(key, return_inverse=True)
        rows = {}
        for name, column in _columns(batch).items():
            sums = np.zeros(len(found), column.dtype)
            np.add.at(sums, inverse, column)
            rows[name] = sums.tolist()
        for i, place in enumerate(found.tolist()):
            bucket, which = divmod(place, len(models))
            where = (bucket * self._bucket_ms, models[which])
            row = self._waiting.setdefault(where, dict.fromkeys(SUMS, 0))
            for name, sums in rows.items():
                row[name] += sums[i]

    def write(self, connection: Connection) -> None:
        """Add what was counted to what stands in the table."""
        if self._waiting:
            rows = [
                {"bucket_ms": bucket, "model": model, **row}
                for (bucket, model), row in self._waiting.items()
            ]
            statement = insert(KPI)
            sums = {name: KPI.c[name] + statement.excluded[name] for name in SUMS}
            connection.execute(
                statement.on_conflict_do_update(["bucket_ms", "model"], set_=sums), rows
            )

    def written(self) -> None:
        """Take note that the transaction of the last `write` is durable."""
        self._waiting.clear()


def _columns(batch: Batch) -> dict[str, NDArray[Any]]:
    """Return what each decision adds to each sum."""
    events, actions = batch.events, batch.actions
    payment = np.isin(events["kind"], SCORED_KINDS)
    money = np.where(payment, np.maximum(events["amount_ref"], 0), 0)  # -1 is unknown
    stopped = (actions == Action.decline) | (actions == Action.review)
    scored = payment & ~np.isnan(batch.scores)
    flags = {flag.name: events["flags"] & flag != 0 for flag in Flag}
    of_payments = {action.name: payment & (actions == action) for action in Action}
    degraded = payment & (batch.modes != Mode.full)
    counts = {"payments": payment, **of_payments, "degraded": degraded, **flags}
    return {
        "events": np.ones(len(batch), np.int64),
        **{name: column.astype(np.int64) for name, column in counts.items()},
        "score_sum": np.where(scored, batch.scores, 0.0).astype(np.float64),
        # A challenged payment goes through once the customer has passed.
        "approved_ref": np.where(stopped, 0, money),
        "stopped_ref": np.where(stopped, money, 0),
    }
