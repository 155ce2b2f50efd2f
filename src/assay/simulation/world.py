"""A seeded world of customers, merchants and fraudsters."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Final

import numpy as np

from assay.simulation.book import Book
from assay.simulation.categories import Categories
from assay.simulation.customers import Customers
from assay.simulation.device_names import DeviceNames
from assay.simulation.events import Event
from assay.simulation.followups import Followups
from assay.simulation.fraud import Fraud
from assay.simulation.genuine import Genuine
from assay.simulation.labels import Labels
from assay.simulation.ledger import Ledger
from assay.simulation.merchants import Merchants
from assay.simulation.past import Past
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

_DRAWN_ANEW: Final = (4, 5, 8)
"""Parts that a new generation draws anew: honest payments, fraud, reports."""


class World:
    """Generates transactions, their truth, labels and exchange rates.

    Each part draws from its own stream of random numbers, so that switching an event on leaves
    customers, merchants and rates as they were.

    Parameters
    ----------
    settings : WorldSettings
        Equal settings give equal tables.
    past : Past, optional
        What has happened already; `change` makes it.

    Examples
    --------
    >>> settings = WorldSettings(
    ...     start_ms=0, end_ms=7 * 86_400_000, customers=50, merchants=100, transactions=500
    ... )
    >>> data = World(settings).generate()
    >>> data.transactions.columns[:3]
    ['transaction_id', 'event_time', 'card_id']
    """

    def __init__(self, settings: WorldSettings, past: Past | None = None) -> None:
        self._settings = s = settings
        self._past = past or Past.nothing(s.start_ms)
        places, categories = Places(), Categories()
        self.zones = Zones(places.zones, s.start_ms, s.end_ms)
        self.rhythm = Rhythm(s.start_ms, s.end_ms, categories, s.events)
        self.merchants = Merchants(self._stream(0), s.merchants, places, categories)
        self.customers = Customers(self._stream(1), s.customers, self.merchants, s.start_ms)
        self.rates = Rates(self._stream(2), s.start_ms, s.end_ms)
        self.trips = Trips(self._stream(3), self.customers, places, self.rhythm, s.events)

    @property
    def end_ms(self) -> int:
        """When it ends, UTC milliseconds."""
        return self._settings.end_ms

    def generate(self) -> WorldData:
        """Return the tables; every call gives the same."""
        book = Book(self._rows, self.merchants, DeviceNames(self._stream(7)), self._starts)
        fx = self.rates.frame(self._settings.reference_currency)
        return WorldData(book.transactions(), book.truth(), book.labels(self._labels), fx)

    def change(self, from_ms: int, events: tuple[Event, ...]) -> World:
        """Return the world that goes on with other events from a moment on.

        What lies before the moment stays as it is, to the last field, and so do the reports
        about it and the captures, reversals and refunds that it leads to.
        What comes after is new: its transaction ids are of a generation of their own.
        Customers, merchants, cards, devices and rates are the same in both.

        Parameters
        ----------
        from_ms : int
            UTC milliseconds, within the world.
        events : tuple of Event
            All events of the new world; before `from_ms` they have no effect.
        """
        s = self._settings
        assert s.start_ms <= from_ms < s.end_ms, "a world changes while it lasts"
        past = Past.of(from_ms, self._rows, self._labels, self._device_codes, self._starts)
        return World(replace(s, events=events), past)

    @cached_property
    def _ledger(self) -> tuple[Ledger, int]:
        """All events in order of time, and how many device codes they use."""
        s, shops, past = self._settings, self.merchants, self._past
        till = Till(self.customers, shops, self.zones, self.rates, s.events)
        genuine = Genuine(
            self.customers,
            merchants=shops,
            trips=self.trips,
            rhythm=self.rhythm,
            zones=self.zones,
            till=till,
        )
        before = past.honest()
        bought = self._from_now(
            genuine.payments(self._stream(4), round(s.transactions * _PAYMENTS))
        )
        honest = Ledger.concat([before, bought])
        fraud = Fraud(
            self.customers,
            merchants=shops,
            zones=self.zones,
            till=till,
            genuine=honest,
            events=s.events,
            device_codes=past.device_codes,
        )
        fraudulent = self._from_now(fraud.campaigns(rng := self._stream(5)))
        fraud.mark_first_party(rng)
        payments = Ledger.concat([honest.take(slice(len(before), None)), fraudulent])
        payments.campaign[payments.campaign >= 0] += past.rows.campaign.max(initial=-1) + 1
        rng = self._stream(6)
        payments = self._replace_cards(rng, payments)
        logins = genuine.logins(rng, payments.take(slice(len(bought))))
        later = Ledger.concat([Followups(shops).draw(rng, payments), logins])
        rows = past.follow(Ledger.concat([payments, self._from_now(later)]))
        return rows, fraud.device_codes

    def _replace_cards(self, rng: np.random.Generator, payments: Ledger) -> Ledger:
        """Return the payments with new cards where the old ones were defrauded before."""
        before = self._past.rows.take(self._past.payments)
        both = Ledger.concat([before, payments])
        Followups(self.merchants).replace_cards(rng, both, int(self.customers.cards.sum()))
        return both.take(slice(len(before), None))

    @property
    def _rows(self) -> Ledger:
        return self._ledger[0]

    @property
    def _device_codes(self) -> int:
        return self._ledger[1]

    @property
    def _starts(self) -> tuple[int, ...]:
        return (*self._past.starts, len(self._past.rows))

    @cached_property
    def _labels(self) -> Labels:
        count = len(self._past.rows)
        new = Labels.draw(self._stream(8), self._rows.take(slice(count, None)))
        return self._past.labels.then(new, count)

    def _from_now(self, rows: Ledger) -> Ledger:
        return rows.span(self._past.until_ms, self._settings.end_ms)

    def _stream(self, part: int) -> np.random.Generator:
        """Return a part's source of randomness; people and places have one for all generations."""
        generation = len(self._past.starts) if part in _DRAWN_ANEW else 0
        return np.random.default_rng([self._settings.seed, part, generation])
