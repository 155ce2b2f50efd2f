"""The moment of payment: fills in what a terminal or a web shop knows of a purchase.

Honest people and fraudsters pay at the same till, so that no field gives a fraud away
by how it was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from assay.records import Channel, EntryMode, Kind
from assay.simulation.customers import Customers
from assay.simulation.events import Event, strength
from assay.simulation.ledger import APPROVED, AVS_RESULTS, CVV_RESULTS, RESPONSES, Ledger
from assay.simulation.merchants import Merchants
from assay.simulation.rates import BANKNOTE, DECIMALS, Rates
from assay.simulation.wheel import Bools, Floats, Ints
from assay.simulation.zones import Zones

AMOUNT_MINOR_LEAST: Final = 10
TAP_LIMIT_MINOR: Final = 5000
"""Above this amount a terminal asks for the chip and the PIN."""

_ADOPTION_MAX: Final = 0.6
_ADOPTION_MS: Final = 45 * 86_400_000
_WALLET_USE: Final = 0.7


@dataclass
class Purchase:
    """Who buys what, where and when, as columns of shape (n,).

    Attributes
    ----------
    time : UTC milliseconds.
    customer, card, merchant : indices.
    city : where the payer is.
    euros : the price.
    """

    time: Ints
    customer: Ints
    card: Ints
    merchant: Ints
    city: Ints
    euros: Floats

    def take(self, rows: Ints | Bools) -> Purchase:
        """Return a copy of some rows."""
        return Purchase(**{name: column[rows] for name, column in vars(self).items()})


class Till:
    """Turns purchases into ledger rows.

    Parameters
    ----------
    customers, merchants, zones, rates
        The world that the till stands in.
    events : tuple of Event
        A new payment method reaches the till.
    """

    def __init__(
        self,
        customers: Customers,
        merchants: Merchants,
        zones: Zones,
        rates: Rates,
        events: tuple[Event, ...],
    ) -> None:
        self._customers, self._merchants = customers, merchants
        self._zones, self._rates, self._events = zones, rates, events
        self._places, self._categories = merchants.places, merchants.categories

    def ring_up(self, rng: np.random.Generator, bought: Purchase) -> Ledger:
        """Return one row for each purchase, answered by the issuer."""
        out = Ledger.blank(len(bought.time))
        out.time, out.customer[:], out.card[:] = bought.time, bought.customer, bought.card
        out.merchant[:] = bought.merchant
        out.offset[:] = self._zones.offset_min(self._places.zone[bought.city], bought.time)
        self._price(rng, out, bought)
        online = self._merchants.online[bought.merchant]
        self._at_counter(rng, out, np.nonzero(~online)[0])
        self._on_the_web(rng, out, np.nonzero(online)[0], bought.city)
        self._by_wallet(rng, out, bought.city)
        self._answer(rng, out)
        return out

    def _price(self, rng: np.random.Generator, out: Ledger, bought: Purchase) -> None:
        n, online = len(out), self._merchants.online[bought.merchant]
        local = self._places.currency[self._merchants.city[bought.merchant]]
        own = self._places.currency[self._customers.home[bought.customer]]
        out.currency[:] = np.where(online & (rng.random(n) < 0.75), own, local)
        units = bought.euros / self._rates.euros(bought.time, out.currency)
        ending = rng.random(n)
        units = np.where(ending < 0.30, np.ceil(units) - 0.01, units)
        units = np.where(ending > 0.80, np.maximum(np.round(units), 1), units)
        cash = self._merchants.category[bought.merchant] == self._categories.index("Cash Machine")
        note = BANKNOTE[out.currency]
        units = np.where(cash, np.maximum(np.round(units / note), 1) * note, units)
        scale = 10 ** DECIMALS[out.currency]
        out.minor[:] = np.maximum(np.round(units * scale), AMOUNT_MINOR_LEAST)

    def _at_counter(self, rng: np.random.Generator, out: Ledger, rows: Ints) -> None:
        merchant, u = out.merchant[rows], rng.random(len(rows))
        cash = self._merchants.category[merchant] == self._categories.index("Cash Machine")
        out.channel[rows] = np.where(cash, Channel.atm, Channel.pos)
        small = self.in_cents(out, rows) <= TAP_LIMIT_MINOR
        tap = (u < np.where(small, 0.72, 0.15)) & ~cash
        stripe, typed = u > 0.985, (u > 0.98) & (u <= 0.985) & ~cash
        out.entry[rows] = np.select(
            [tap, stripe, typed],
            [EntryMode.contactless, EntryMode.magstripe, EntryMode.manual],
            EntryMode.chip,
        )
        out.latitude[rows] = self._merchants.latitude[merchant]
        out.longitude[rows] = self._merchants.longitude[merchant]

    def _on_the_web(self, rng: np.random.Generator, out: Ledger, rows: Ints, city: Ints) -> None:
        customer, merchant, where = out.customer[rows], out.merchant[rows], city[rows]
        category, u = self._merchants.category[merchant], rng.random(len(rows))
        transfer = category == self._categories.index("Payee")
        phone = (category == self._categories.index("Travel Agency")) & (u < 0.15)
        out.kind[rows] = np.where(transfer, Kind.transfer, Kind.authorisation)
        out.channel[rows] = np.select(
            [transfer & (u < 0.6), phone], [Channel.mobile, Channel.moto], Channel.ecommerce
        )
        known = (self._customers.favourites[customer] == merchant[:, None]).any(axis=1)
        stored = rng.random(len(rows)) < np.where(known, 0.62, 0.12)
        entry = np.where(stored & ~phone, EntryMode.credential_on_file, EntryMode.manual)
        out.entry[rows] = np.where(transfer, EntryMode.unknown, entry)
        typed = out.entry[rows] == EntryMode.manual
        out.cvv[rows] = np.where(typed, _draw(rng, len(rows), CVV_RESULTS, _HONEST_CVV), 0)
        out.avs[rows] = np.where(typed, _draw(rng, len(rows), AVS_RESULTS, _HONEST_AVS), 0)
        self.use_device(rng, out, rows[~phone], where[~phone])

    def use_device(self, rng: np.random.Generator, out: Ledger, rows: Ints, city: Ints) -> None:
        """Give rows the customer's own device, address on the net and perhaps coordinates."""
        customer = out.customer[rows].astype(np.int64)
        out.device[rows] = self._customers.draw_device(rng, customer, out.time[rows])
        out.ip[rows] = self._customers.draw_ip(rng, customer, city, out.time[rows])
        shares = self._customers.shares_location[customer]
        home = city == self._customers.home[customer]
        lat = np.where(home, self._customers.latitude[customer], self._places.latitude[city])
        lon = np.where(home, self._customers.longitude[customer], self._places.longitude[city])
        out.latitude[rows] = np.where(shares, lat, np.nan)
        out.longitude[rows] = np.where(shares, lon, np.nan)

    def _by_wallet(self, rng: np.random.Generator, out: Ledger, city: Ints) -> None:
        pace = strength(self._events, "wallet", out.time)
        if not pace.any():
            return
        start = min(e.start_ms for e in self._events if e.name == "wallet" and e.on)
        taken_up = np.minimum((out.time - start) / _ADOPTION_MS, 1) * _ADOPTION_MAX * pace
        payable = np.isin(out.entry, (EntryMode.contactless, EntryMode.manual))
        uses = (self._customers.adoption[out.customer] < taken_up) & payable
        rows = np.nonzero(uses & (rng.random(len(out)) < _WALLET_USE))[0]
        out.channel[rows], out.entry[rows] = Channel.mobile, EntryMode.wallet
        out.cvv[rows] = out.avs[rows] = 0
        bare = rows[out.device[rows] < 0]
        latitude, longitude = out.latitude[bare], out.longitude[bare]
        self.use_device(rng, out, bare, city[bare])
        out.ip[bare], out.latitude[bare], out.longitude[bare] = 0, latitude, longitude

    def _answer(self, rng: np.random.Generator, out: Ledger) -> None:
        strapped, u = self._customers.strapped[out.customer], rng.random(len(out))
        pin = out.entry == EntryMode.chip
        wrong = (out.cvv == CVV_RESULTS.index("N")) & (rng.random(len(out)) < 0.6)
        code = RESPONSES.index
        out.response[:] = np.select(
            [wrong, u < strapped, u > 0.995, u > 0.994, u > 0.992, (u > 0.985) & pin],
            [code("05"), code("51"), code("05"), code("91"), code("61"), code("55")],
            APPROVED,
        )

    def in_cents(self, out: Ledger, rows: Ints) -> Floats:
        """Return amounts in cents of a euro."""
        scale = 10.0 ** DECIMALS[out.currency[rows]]
        euros = self._rates.euros(out.time[rows], out.currency[rows])
        return np.asarray(out.minor[rows] / scale * euros * 100)


_HONEST_CVV: Final = {"M": 0.93, "N": 0.02, "P": 0.04, "U": 0.01}
_HONEST_AVS: Final = {"": 0.5, "Y": 0.36, "N": 0.03, "A": 0.05, "Z": 0.02, "U": 0.04}


def _draw(
    rng: np.random.Generator, n: int, names: tuple[str, ...], shares: dict[str, float]
) -> Ints:
    edges = np.cumsum([shares.get(name, 0.0) for name in names])
    return np.searchsorted(edges / edges[-1], rng.random(n), "right")
