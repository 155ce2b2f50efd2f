"""What follows a payment: captures, reversals, refunds, and a new card after fraud."""

from __future__ import annotations

from typing import Final

import numpy as np

from assay.records import DAY_MS, Kind
from assay.simulation.ledger import APPROVED, Ledger
from assay.simulation.merchants import Merchants
from assay.simulation.wheel import Floats, Ints
from assay.simulation.zones import MINUTE_MS

_REVERSED: Final = 0.006
_CAPTURED_LATER: Final = ("Hotel", "Airline", "Marketplace")
_CAPTURED: Final = 0.35
_PARTIAL: Final = 0.3
_REPLACED: Final = 0.85
"""Share of defrauded cards that are replaced by a new number."""


class Followups:
    """Later events that name an earlier payment.

    Parameters
    ----------
    merchants : Merchants
        Whose categories say how often goods come back.
    """

    def __init__(self, merchants: Merchants) -> None:
        self._merchants = merchants

    def draw(self, rng: np.random.Generator, payments: Ledger) -> Ledger:
        """Return reversals, captures and refunds; `related` is a row of `payments`."""
        passed = np.nonzero(
            (payments.response == APPROVED) & (payments.kind == Kind.authorisation)
        )[0]
        category = self._merchants.category[payments.merchant[passed]]
        u = rng.random(len(passed))
        back = passed[u < _REVERSED]
        kinds = self._merchants.categories
        late = np.isin(category, kinds.index(*_CAPTURED_LATER)) & (u >= 1 - _CAPTURED)
        returned = (u >= _REVERSED) & (u < _REVERSED + kinds.refund[category])
        refund = self._follow(payments, passed[returned], Kind.refund)
        partial = rng.random(len(refund)) < _PARTIAL
        part = np.where(partial, rng.uniform(0.1, 0.9, len(refund)), 1.0)
        refund.minor = np.maximum(refund.minor * part, 1).astype(np.int64)
        days = rng.lognormal(np.log(6), 0.8, len(refund))
        parts = [
            _later(
                self._follow(payments, back, Kind.reversal),
                rng.exponential(8, len(back)),
                MINUTE_MS,
            ),
            _later(refund, days, DAY_MS),
        ]
        capture = self._follow(payments, passed[late], Kind.capture)
        return Ledger.concat([*parts, _later(capture, rng.uniform(0.3, 4, len(capture)), DAY_MS)])

    def replace_cards(self, rng: np.random.Generator, payments: Ledger, cards: int) -> None:
        """Move honest payments to the card that replaces a defrauded one, after a while.

        The replacement of card c is number ``c + cards``; a card that was replaced stays so.
        """
        never = np.iinfo(np.int64).max
        blocked = np.full(cards, -1, np.int64)
        card, gone = payments.card % cards, payments.card >= cards
        taken = (payments.fraud > 0) & (payments.campaign >= 0)
        np.maximum.at(blocked, card[taken], payments.time[taken])
        stays = (rng.random(cards) >= _REPLACED) | (blocked < 0)
        delay = (rng.exponential(1.5, cards) * DAY_MS).astype(np.int64)
        blocked = np.where(stays, never, blocked + delay)
        np.minimum.at(blocked, card[gone], payments.time[gone] - 1)
        payments.card[:] = card + cards * (payments.time > blocked[card])

    def _follow(self, payments: Ledger, rows: Ints, kind: Kind) -> Ledger:
        out = payments.take(rows)
        out.kind[:] = kind
        out.related[:] = rows
        out.fraud[:] = out.cvv[:] = out.avs[:] = out.ip[:] = 0
        out.campaign[:] = out.device[:] = -1
        return out


def _later(rows: Ledger, amount: Floats, unit_ms: int) -> Ledger:
    rows.time = rows.time + 1 + (amount * unit_ms).astype(np.int64)
    return rows
