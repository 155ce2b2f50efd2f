"""A seeded world of customers, merchants and fraudsters."""

from __future__ import annotations

from typing import Final

import numpy as np

from assay.simulation.book import Book
from assay.simulation.categories import Categories
from assay.simulation.customers import Customers
from assay.simulation.followups import Followups
from assay.simulation.fraud import Fraud
from assay.simulation.genuine import Genuine
from assay.simulation.labels import Labels
from assay.simulation.ledger import Ledger
from assay.simulation.merchants import Merchants
from assay.simulation.places import Places
from assay.simulation.rates import Rates
from assay.simulation.rhythm import Rhythm
from assay.simulation.till import Till
from assay.simulation.trips import Trips
from assay.simulation.world_data import WorldData
from assay.simulation.world_settings import WorldSettings
from assay.simulation.zones import Zones

_PAYMENTS: Final = 0.845
"""Share of a world's rows that honest payments are; the rest follow from them."""


class World:
    """Generates transactions, their truth, labels and exchange rates.

    Each part draws from its own stream of random numbers, so that switching an event on leaves
    customers, merchants and rates as they were.

    Parameters
    ----------
    settings : WorldSettings
        Equal settings give equal tables.

    Examples
    --------
    >>> settings = WorldSettings(
    ...     start_ms=0, end_ms=7 * 86_400_000, customers=50, merchants=100, transactions=500
    ... )
    >>> data = World(settings).generate()
    >>> data.transactions.columns[:3]
    ['transaction_id', 'event_time', 'card_id']
    """

    def __init__(self, settings: WorldSettings) -> None:
        self._settings = s = settings
        places, categories = Places(), Categories()
        self.zones = Zones(places.zones, s.start_ms, s.end_ms)
        self.rhythm = Rhythm(s.start_ms, s.end_ms, categories, s.events)
        self.merchants = Merchants(self._stream(0), s.merchants, places, categories)
        self.customers = Customers(self._stream(1), s.customers, self.merchants, s.start_ms)
        self.rates = Rates(self._stream(2), s.start_ms, s.end_ms)
        self.trips = Trips(self._stream(3), self.customers, places, self.rhythm, s.events)

    def generate(self) -> WorldData:
        """Return the tables; every call gives the same."""
        rows, device_codes = self._rows()
        names = self._stream(7).permutation(device_codes)
        book = Book(rows, self.merchants, names)
        labels = Labels(self._stream(8), rows)
        fx = self.rates.frame(self._settings.reference_currency)
        return WorldData(book.transactions(), book.truth(), book.labels(labels), fx)

    def _rows(self) -> tuple[Ledger, int]:
        """Return all events in order of time, and how many device codes they use."""
        s, shops = self._settings, self.merchants
        till = Till(self.customers, shops, self.zones, self.rates, s.events)
        genuine = Genuine(
            self.customers,
            merchants=shops,
            trips=self.trips,
            rhythm=self.rhythm,
            zones=self.zones,
            till=till,
        )
        honest = self._inside(genuine.payments(self._stream(4), round(s.transactions * _PAYMENTS)))
        fraud = Fraud(
            self.customers,
            merchants=shops,
            zones=self.zones,
            till=till,
            genuine=honest,
            events=s.events,
        )
        fraudulent = self._inside(fraud.campaigns(rng := self._stream(5)))
        fraud.mark_first_party(rng)
        payments = Ledger.concat([honest, fraudulent])
        followups, rng = Followups(shops), self._stream(6)
        followups.replace_cards(rng, payments, int(self.customers.cards.sum()))
        logins = genuine.logins(rng, payments.take(slice(len(honest))))
        later = self._inside(Ledger.concat([followups.draw(rng, payments), logins]))
        return _in_order(Ledger.concat([payments, later])), fraud.device_codes

    def _inside(self, rows: Ledger) -> Ledger:
        return rows.take(
            (rows.time >= self._settings.start_ms) & (rows.time < self._settings.end_ms)
        )

    def _stream(self, part: int) -> np.random.Generator:
        return np.random.default_rng([self._settings.seed, part])


def _in_order(rows: Ledger) -> Ledger:
    """Return the rows sorted by time, with `related` following them."""
    order = np.argsort(rows.time, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    out = rows.take(order)
    out.related = np.where(out.related >= 0, rank[out.related], -1)
    return out
