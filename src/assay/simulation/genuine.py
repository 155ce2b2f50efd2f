"""What honest customers do: buy, retry, go on sprees, log in and change their profile."""

from __future__ import annotations

from typing import Final

import numpy as np

from assay.records import Channel, Kind
from assay.simulation.customers import FAVOURITES, Customers
from assay.simulation.ledger import APPROVED, Ledger
from assay.simulation.merchants import Merchants, weekday_of
from assay.simulation.rhythm import Rhythm
from assay.simulation.till import Purchase, Till
from assay.simulation.trips import Trips
from assay.simulation.wheel import Bools, Floats, Ints, Wheel
from assay.simulation.zones import MINUTE_MS, Zones

_HABIT: Final = 0.72  # share of purchases at a favourite
_OPEN: Final = 1.035  # makes up for purchases that find the shop closed
_BIG: Final = 0.004  # share of one-off purchases far above the usual
_ABROAD_SPEND: Final = 1.3
_SPREE: Final = 0.02  # share of digital purchases that begin a spree
_RETRY: Final = 0.55  # share of declined purchases that are tried again


class Genuine:
    """Honest behaviour.

    Parameters
    ----------
    customers, merchants, trips, rhythm, zones, till
        The world it happens in.
    """

    def __init__(
        self,
        customers: Customers,
        *,
        merchants: Merchants,
        trips: Trips,
        rhythm: Rhythm,
        zones: Zones,
        till: Till,
    ) -> None:
        self._customers, self._merchants, self._trips = customers, merchants, trips
        self._rhythm, self._zones, self._till = rhythm, zones, till
        rank = np.arange(FAVOURITES)
        self._slots = Wheel(np.zeros(FAVOURITES, np.int64), 1 / (1 + rank) ** 0.8)

    def payments(self, rng: np.random.Generator, count: int) -> Ledger:
        """Return about `count` payments in a world without events, events on top."""
        bought = self._purchases(rng, count)
        single = self._till.ring_up(rng, bought)
        spree = self._till.ring_up(rng, self._sprees(rng, bought))
        first = Ledger.concat([single, spree])
        return Ledger.concat([first, *self._retries(rng, first)])

    def logins(self, rng: np.random.Generator, payments: Ledger) -> Ledger:
        """Return logins before some online payments, alone, and with profile changes."""
        online = np.nonzero((payments.device >= 0) & (payments.ip > 0))[0]
        device = payments.device[online].astype(np.int64)
        new = self._customers.device_is_new(device, payments.time[online])
        before = online[rng.random(len(online)) < np.where(new, 0.55, 0.16)]
        alone = online[rng.random(len(online)) < 0.10]
        visit = visits(payments, np.concatenate([before, alone]), Kind.login)
        pause = rng.exponential(4 * MINUTE_MS, len(visit)) + 20_000
        away = np.arange(len(visit)) >= len(before)
        pause[away] += rng.random(int(away.sum())) * 2880 * MINUTE_MS
        visit.time = visit.time - pause.astype(np.int64)
        fresh = self._customers.device_is_new(visit.device.astype(np.int64), visit.time)
        edits = np.nonzero(rng.random(len(visit)) < np.where(fresh, 0.22, 0.015))[0]
        change = visits(visit, edits, Kind.profile_change)
        change.time = change.time + rng.integers(20_000, 240_000, len(change))
        return Ledger.concat([visit, change])

    def _purchases(self, rng: np.random.Generator, count: int) -> Purchase:
        n = self._rhythm.draws_for(round(count * _OPEN))
        customer, day = self._customers.draw(rng, n), self._rhythm.draw_days(rng, n)
        city = self._trips.city_on(rng, customer, day)
        merchant = self._choose(rng, customer, city)
        category = self._merchants.category[merchant]
        local = self._clock(rng, customer, category, day)
        payer_city = np.where(
            self._merchants.online[merchant], city, self._merchants.city[merchant]
        )
        rests = self._merchants.closed_day[merchant] == weekday_of(self._rhythm.day_start[day])
        local = self._merchants.settle(rng, merchant, local)
        zone = self._merchants.places.zone[payer_city]
        time = self._zones.to_utc(zone, local)
        keep = rng.random(n) < self._rhythm.keep(category, day, time)
        # The hour that a clock change skips would move some into the morning: they stay away.
        keep &= ~rests & self._merchants.open_at(merchant, self._zones.to_local(zone, time))
        card = self._customers.draw_card(rng, customer[keep])
        euros = self._prices(rng, customer[keep], merchant[keep], city[keep])
        return Purchase(time[keep], customer[keep], card, merchant[keep], payer_city[keep], euros)

    def _choose(self, rng: np.random.Generator, customer: Ints, city: Ints) -> Ints:
        """Return a favourite, or any merchant to the customer's taste where the customer is."""
        n = len(customer)
        favourite = self._customers.favourites[
            customer, self._slots.draw(rng, np.zeros(n, np.int64))
        ]
        habit = rng.random(n) < _HABIT
        away = (city != self._customers.home[customer]) & ~self._merchants.online[favourite]
        category = self._merchants.category[favourite]
        explores = np.nonzero(~habit)[0]
        category[explores] = self._customers.draw_category(rng, customer[explores])
        elsewhere = np.nonzero(~habit | away)[0]
        favourite[elsewhere] = self._merchants.draw(rng, city[elsewhere], category[elsewhere])
        return favourite

    def _clock(self, rng: np.random.Generator, customer: Ints, category: Ints, day: Ints) -> Ints:
        minute = self._rhythm.draw_minutes(rng, category) + self._customers.shift_min[customer]
        within = np.mod(minute, 1440.0) * MINUTE_MS
        return self._rhythm.day_start[day] + within.astype(np.int64)

    def _prices(
        self, rng: np.random.Generator, customer: Ints, merchant: Ints, city: Ints
    ) -> Floats:
        n, kinds = len(customer), self._merchants.categories
        category = self._merchants.category[merchant]
        euros = kinds.median[category] * self._merchants.price[merchant]
        euros *= self._customers.spend[customer]
        euros *= np.exp(kinds.spread[category] * rng.normal(0, 1, n))
        euros *= np.where(city != self._customers.home[customer], _ABROAD_SPEND, 1.0)
        return euros * np.where(rng.random(n) < _BIG, rng.uniform(4, 20, n), 1.0)

    def _sprees(self, rng: np.random.Generator, bought: Purchase) -> Purchase:
        """Return more purchases soon after some digital ones, at the same merchant."""
        kinds = self._merchants.categories
        digital = kinds.index("Games", "Media", "Marketplace", "Betting", "Gift Cards", "Fashion")
        able = np.isin(self._merchants.category[bought.merchant], digital)
        seed = np.nonzero(able & (rng.random(len(able)) < _SPREE))[0]
        size = rng.geometric(0.3, len(seed))
        more = bought.take(np.repeat(seed, size))
        more.time = more.time + cumulate(rng.exponential(5 * MINUTE_MS, size.sum()), size)
        more.euros = more.euros * np.exp(rng.normal(-0.2, 0.7, len(more.euros)))
        return more

    def _retries(self, rng: np.random.Generator, first: Ledger) -> list[Ledger]:
        """Return repeats of declined purchases, until they pass or patience ends."""
        out, tried = [], first
        for _ in range(4):
            rows = np.nonzero((tried.response != APPROVED) & self._open(tried))[0]
            tried = tried.take(rows[rng.random(len(rows)) < _RETRY])
            tried.time = tried.time + rng.integers(15_000, 150_000, len(tried))
            passes = rng.random(len(tried)) < 0.45
            tried.response = np.where(passes, APPROVED, tried.response).astype(np.int8)
            out.append(tried)
        return out

    def _open(self, rows: Ledger) -> Bools:
        """Return whether each merchant is still open three minutes later."""
        local = rows.time + rows.offset.astype(np.int64) * MINUTE_MS + 3 * MINUTE_MS
        return self._merchants.open_at(rows.merchant, local)


def visits(rows: Ledger, at: Ints, kind: Kind) -> Ledger:
    """Return logins or profile changes from the devices of some rows."""
    out, source = Ledger.blank(len(at)), rows.take(at)
    for name in ("time", "customer", "card", "device", "ip", "latitude", "longitude", "offset"):
        setattr(out, name, getattr(source, name))
    out.kind[:] = kind
    out.channel[:] = np.where(source.channel == Channel.mobile, Channel.mobile, Channel.ecommerce)
    return out


def cumulate(step: Floats, size: Ints) -> Ints:
    """Return running sums of `step` within consecutive runs of the given sizes.

    Examples
    --------
    >>> cumulate(np.array([1.0, 2.0, 5.0]), np.array([2, 1])).tolist()
    [1, 3, 5]
    """
    total = np.cumsum(step)
    first = np.cumsum(size) - size
    base = np.repeat(total[first] - step[first], size) if len(size) else total
    return (total - base).astype(np.int64)
