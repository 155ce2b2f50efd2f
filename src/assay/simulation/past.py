"""What has happened in a world already, when it goes on in another way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.records import SCORED_KINDS, Kind
from assay.simulation.labels import Labels
from assay.simulation.ledger import FRAUD_KINDS, Ledger
from assay.simulation.wheel import Bools

_FIRST_PARTY = FRAUD_KINDS.index("first_party")


@dataclass(frozen=True)
class Past:
    """The rows before a moment, and what they leave behind.

    Attributes
    ----------
    until_ms : int
        The moment, UTC milliseconds.
    rows : Ledger
        All that happened before, in order of time.
    coming : Ledger
        Captures, reversals and refunds of those rows that are still to come.
    labels : Labels
        Reports about those rows, whenever they come.
    device_codes : int
        Codes that devices have taken.
    starts : tuple of int
        Row at which each generation of the world began.
    """

    until_ms: int
    rows: Ledger
    coming: Ledger
    labels: Labels
    device_codes: int
    starts: tuple[int, ...]

    @classmethod
    def nothing(cls, start_ms: int) -> Past:
        """Return the past of a world that begins."""
        none = np.zeros(0, np.int64)
        labels = Labels(none, none.astype(bool), none)
        return cls(start_ms, Ledger.blank(0), Ledger.blank(0), labels, 0, ())

    @classmethod
    def of(
        cls, until_ms: int, rows: Ledger, labels: Labels, device_codes: int, starts: tuple[int, ...]
    ) -> Past:
        """Cut a world's rows, in order of time, at a moment."""
        count = int(np.searchsorted(rows.time, until_ms))
        before, after = rows.take(slice(count)), rows.take(slice(count, None))
        coming = after.take((after.related >= 0) & (after.related < count))
        return cls(until_ms, before, coming, labels.before(count), device_codes, starts)

    @property
    def payments(self) -> Bools:
        """Which rows are payments, or what fraudsters did."""
        followups = (Kind.capture, Kind.reversal, Kind.refund)
        visits = np.isin(self.rows.kind, (Kind.login, Kind.profile_change))
        follows = np.isin(self.rows.kind, followups)
        return np.asarray(~follows & ~(visits & (self.rows.fraud == 0)))

    def honest(self) -> Ledger:
        """Return payments as their buyers made them, whatever they deny later."""
        rows = self.rows
        own = (rows.fraud == 0) | (rows.fraud == _FIRST_PARTY)
        return rows.take(np.isin(rows.kind, SCORED_KINDS) & own)

    def follow(self, later: Ledger) -> Ledger:
        """Return the past, and what comes after it, in order of time.

        `related` of the later rows names rows among them, and follows them to their new places.
        """
        count = len(self.rows)
        later.related = np.where(later.related >= 0, later.related + count, -1)
        out = Ledger.concat([later, self.coming])
        order = np.argsort(out.time, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order)) + count
        out = out.take(order)
        moved = out.related >= count
        out.related[moved] = place[out.related[moved] - count]
        return Ledger.concat([self.rows, out])
