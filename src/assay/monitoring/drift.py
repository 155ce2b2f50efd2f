"""Live histograms over a model's grids, by bucket of stream time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from assay.control.schema import DRIFT
from assay.errors import BundleError
from assay.monitoring.grids import Counts, Grids
from assay.records import DAY_MS, SCORED_KINDS, Batch

log = logging.getLogger("assay.monitoring")

BUCKETS: Final = 24
"""How many buckets a window has: its edges are so coarse."""

KEPT_DAYS: Final = 30
"""How much longer than a window the histograms are kept."""

Ints = NDArray[np.int64]


class Drift:
    """Counts the payments of each model into its grids.

    Parameters
    ----------
    grids_of : callable
        From a model to its document of grids; None: it has none, and is not watched.
    window_ms : int
        The stretch of stream time that is compared.
    """

    def __init__(self, grids_of: Callable[[str], Mapping[str, Any] | None], window_ms: int) -> None:
        self._grids_of, self.window_ms = grids_of, window_ms
        self._width_ms = window_ms // BUCKETS
        self._grids: dict[str, Grids | None] = {}
        self._waiting: dict[tuple[int, str], Counts] = {}

    def grids(self, model: str) -> Grids | None:
        """Return the grids of a model; None if it has none that can be used."""
        if model not in self._grids:
            try:
                document = self._grids_of(model)
                self._grids[model] = None if document is None else Grids.load(document)
            except BundleError as error:
                log.warning("drift of %s cannot be watched: %s", model, error)
                self._grids[model] = None
        return self._grids[model]

    def take(self, batch: Batch, time_ms: Ints, models: list[str], model: Ints) -> None:
        """Count n decisions; `time_ms` and `model` are of shape (n,)."""
        payments = np.flatnonzero(np.isin(batch.events["kind"], SCORED_KINDS))
        key = time_ms[payments] // self._width_ms * len(models) + model[payments]
        order = np.argsort(key, kind="stable")
        found, starts = np.unique(key[order], return_index=True)
        for place, rows in zip(found.tolist(), np.split(payments[order], starts[1:]), strict=False):
            bucket, which = divmod(place, len(models))
            grids = self.grids(models[which])
            if grids is None or len(grids.subjects) - 1 != batch.features.shape[1]:
                continue
            counts = grids.count(batch.features[rows], batch.scores[rows])
            where = (bucket * self._width_ms, models[which])
            self._waiting[where] = self._waiting.get(where, 0) + counts

    def write(self, connection: Connection) -> None:
        """Add what was counted to what stands in the table."""
        rows = []
        for (bucket_ms, model), counts in self._waiting.items():
            at = (DRIFT.c.bucket_ms == bucket_ms) & (DRIFT.c.model == model)
            known = connection.execute(select(DRIFT.c.counts).where(at)).scalar()
            total = counts if known is None else counts + _decode(known, counts.shape)
            rows.append({"bucket_ms": bucket_ms, "model": model, "counts": total.tobytes()})
        if rows:
            statement = insert(DRIFT)
            counts_now = {"counts": statement.excluded.counts}
            connection.execute(
                statement.on_conflict_do_update(["bucket_ms", "model"], set_=counts_now), rows
            )

    def written(self) -> None:
        """Take note that the transaction of the last `write` is durable."""
        self._waiting.clear()

    def window(self, connection: Connection, model: str, to_ms: int, since_ms: int) -> Counts:
        """Return the counts of a model over the window that ends at a moment.

        Parameters
        ----------
        connection : Connection
        model : str
            One that has grids.
        to_ms : int
            Stream time.
        since_ms : int
            Buckets that end before it are left out: they belong to an earlier reign.
        """
        grids = self.grids(model)
        assert grids is not None, model
        shape = (len(grids.subjects), grids.bins_max)
        first_ms = self._start(max(to_ms - self.window_ms, since_ms))
        inside = (DRIFT.c.bucket_ms >= first_ms) & (DRIFT.c.bucket_ms <= to_ms)
        blobs = connection.execute(select(DRIFT.c.counts).where(inside, DRIFT.c.model == model))
        return sum((_decode(blob, shape) for blob in blobs.scalars()), np.zeros(shape, np.int64))

    def _start(self, time_ms: int) -> int:
        return time_ms // self._width_ms * self._width_ms

    def prune(self, connection: Connection, now_ms: int) -> None:
        """Remove histograms that are older than the window and 30 days, by stream time."""
        oldest_ms = now_ms - self.window_ms - KEPT_DAYS * DAY_MS
        connection.execute(delete(DRIFT).where(DRIFT.c.bucket_ms < oldest_ms))


def _decode(blob: bytes, shape: tuple[int, ...]) -> Counts:
    """Return stored counts; of another shape, they are of other grids and count nothing."""
    counts = np.frombuffer(blob, np.int64)
    return counts.reshape(shape) if counts.size == np.prod(shape) else np.zeros(shape, np.int64)
