"""Accepted rows of an import as columns: joined, freed of repeats, and sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.records import EVENT, Events

_BASE_CHARACTERS = 36  # of a made id: row_ and 32 letters, before the ordinal


@dataclass(frozen=True)
class Rows:
    """Columns of n accepted transactions.

    Attributes
    ----------
    events : ndarray of `EVENT`, shape (n,)
    ids : Series of text
        Transaction ids.
    bodies : ndarray of uint64
        Keyed digests of the canonical JSON.
    fraud : ndarray of int8
        1, 0, or -1 where unknown.
    reported_ms : ndarray of int64
        When the label was known; -1 where unknown, `quality.UNREPORTED` where it has no time.
    lines : ndarray of int64
        Of the file.
    """

    events: Events
    ids: pl.Series
    bodies: NDArray[np.uint64]
    fraud: NDArray[np.int8]
    reported_ms: NDArray[np.int64]
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    def only(self, rows: NDArray[np.intp]) -> Rows:
        """Return some rows, in the given order."""
        if np.array_equal(rows, np.arange(len(self))):
            return self  # the usual case: a sorted file without repeats
        return Rows(
            self.events[rows],
            self.ids.gather(rows),
            self.bodies[rows],
            self.fraud[rows],
            self.reported_ms[rows],
            self.lines[rows],
        )

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return all parts one after the other."""
        if not parts:
            parts = [cls(*_EMPTY)]
        return cls(
            np.concatenate([part.events for part in parts]),
            pl.concat([part.ids for part in parts]),
            np.concatenate([part.bodies for part in parts]),
            np.concatenate([part.fraud for part in parts]),
            np.concatenate([part.reported_ms for part in parts]),
            np.concatenate([part.lines for part in parts]),
        )

    def settled(self) -> Rows:
        """Return the rows with the labels of equal rows in one order.

        For made ids: rows that differ in their label alone got their ordinals in file
        order. Their labels are dealt out again, sorted, so that a shuffled file gives the
        same table.
        """
        bases = self.ids.str.slice(0, _BASE_CHARACTERS)
        equal = bases.is_duplicated().arg_true()
        if equal.is_empty():
            return self
        frame = pl.DataFrame(
            {
                "row": equal,
                "base": bases[equal],
                "id": self.ids[equal],
                "fraud": self.fraud[equal.to_numpy()],
                "reported_ms": self.reported_ms[equal.to_numpy()],
            }
        )
        to = frame.sort("base", "id")["row"].to_numpy()
        dealt = frame.sort("base", "fraud", "reported_ms")
        fraud, reported_ms = self.fraud.copy(), self.reported_ms.copy()
        fraud[to], reported_ms[to] = dealt["fraud"].to_numpy(), dealt["reported_ms"].to_numpy()
        return Rows(self.events, self.ids, self.bodies, fraud, reported_ms, self.lines)

    def ordered(self) -> Rows:
        """Return the rows by (event_time, transaction_id)."""
        frame = pl.DataFrame({"time": self.events["event_time"], "id": self.ids})
        order = frame.with_row_index("row").sort("time", "id")["row"].to_numpy()
        return self.only(order.astype(np.intp))

    def parted(
        self, known_ids: NDArray[np.uint64], known_bodies: NDArray[np.uint64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Tell new rows from repeats, whatever their order.

        What is known already wins; within the rows the earliest event of an id wins, then
        the smaller digest, then the one with a label.

        Returns
        -------
        tuple of ndarray
            Positions of new rows, of duplicates (equal body) and of conflicts.
        """
        ids = self.events["transaction"]
        keep = np.ones(len(self), bool)
        reference = self.bodies.copy()
        _, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
        order = np.flatnonzero(counts[inverse] > 1)
        if len(order):
            order = order[self._precedence(order)]
            leads = np.append(True, ids[order][1:] != ids[order][:-1])
            keep[order[~leads]] = False
            reference[order] = self.bodies[order][leads][np.cumsum(leads) - 1]
        if len(known_ids):
            by_id = np.argsort(known_ids)
            place = np.minimum(np.searchsorted(known_ids, ids, sorter=by_id), len(by_id) - 1)
            hit = known_ids[by_id[place]] == ids
            keep[hit] = False
            reference[hit] = known_bodies[by_id[place[hit]]]
        equal = self.bodies == reference
        return np.flatnonzero(keep), np.flatnonzero(~keep & equal), np.flatnonzero(~keep & ~equal)

    def _precedence(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        events = self.events[rows]
        return np.lexsort(
            (
                self.reported_ms[rows],
                -self.fraud[rows],
                self.bodies[rows],
                events["event_time"],
                events["transaction"],
            )
        )


_EMPTY = (
    np.zeros(0, EVENT),
    pl.Series([], dtype=pl.String),
    np.zeros(0, np.uint64),
    np.zeros(0, np.int8),
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
)
