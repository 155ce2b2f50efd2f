"""What the bank learns of the truth, and when: late, incomplete and partly wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from assay.records import DAY_MS, SCORED_KINDS
from assay.simulation.ledger import FRAUD_KINDS, Ledger
from assay.simulation.wheel import Bools, Floats, Ints

REPORTED: Final = {
    "stolen_card": (0.94, 3.0),
    "card_testing": (0.86, 7.0),
    "account_takeover": (0.95, 2.0),
    "compromised_merchant": (0.90, 10.0),
    "impossible_travel": (0.95, 4.0),
    "first_party": (0.90, 21.0),
    "voucher_ring": (0.85, 12.0),
}
"""For each kind: the share that is ever reported, and the median delay in days."""

CLEARED: Final = 0.015
"""Share of reported frauds that an investigation wrongly clears."""

MISTAKEN: Final = 0.0002
"""Share of honest payments reported as fraud by mistake."""

CONFIRMED: Final = 0.004
"""Share of honest payments that somebody confirms."""

_SPREAD: Final = 0.8  # of the logarithm of the delay
_DELAY_MIN_MS: Final = 30 * 60_000
_DELAY_MAX_DAYS: Final = 120


@dataclass(frozen=True)
class Labels:
    """Reports about payments, as columns.

    Attributes
    ----------
    row : ndarray of int
        Row of the ledger that the report is about, each at most once.
    fraud : ndarray of bool
        What the report says.
    reported : ndarray of int
        UTC milliseconds, at times after the end of the world.
    """

    row: Ints
    fraud: Bools
    reported: Ints

    @classmethod
    def draw(cls, rng: np.random.Generator, rows: Ledger) -> Labels:
        """Return reports about a ledger's payments; nothing else is reported on."""
        scored = np.isin(rows.kind, SCORED_KINDS)
        share = np.array([0.0, *(REPORTED[kind][0] for kind in FRAUD_KINDS[1:])])
        median = np.array([2.0, *(REPORTED[kind][1] for kind in FRAUD_KINDS[1:])])
        u = rng.random(len(rows))
        honest = rows.fraud == 0
        told = np.where(honest, u < MISTAKEN + CONFIRMED, u < share[rows.fraud])
        row = np.nonzero(scored & told)[0]
        u, honest = u[row], honest[row]
        fraud = np.where(honest, u < MISTAKEN, rng.random(len(u)) >= CLEARED)
        days = _delays(rng, median[rows.fraud[row]])
        delay = np.maximum(days * DAY_MS, _DELAY_MIN_MS).astype(np.int64)
        return cls(row, fraud, rows.time[row] + delay)

    def before(self, row: int) -> Labels:
        """Return the reports about the first rows."""
        about = self.row < row
        return Labels(self.row[about], self.fraud[about], self.reported[about])

    def then(self, later: Labels, rows: int) -> Labels:
        """Return these reports about `rows` rows, and those about the rows that come after."""
        return Labels(
            np.concatenate([self.row, later.row + rows]),
            np.concatenate([self.fraud, later.fraud]),
            np.concatenate([self.reported, later.reported]),
        )


def _delays(rng: np.random.Generator, median_days: Floats) -> Floats:
    days = median_days * np.exp(_SPREAD * rng.normal(0, 1, len(median_days)))
    return np.minimum(days, _DELAY_MAX_DAYS)
