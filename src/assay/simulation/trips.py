"""Journeys: where each customer is on each day."""

from __future__ import annotations

import numpy as np

from assay.simulation.customers import Customers
from assay.simulation.events import Event, strength
from assay.simulation.places import Places
from assay.simulation.rhythm import Rhythm
from assay.simulation.wheel import Ints

_ABROAD = 0.6
_DAY_TRIP = 0.04


class Trips:
    """All journeys, sorted by customer and first day.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    customers, places, rhythm
        Who travels, where to, and over which days.
    events : tuple of Event
        A pandemic keeps people at home.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        customers: Customers,
        places: Places,
        rhythm: Rhythm,
        events: tuple[Event, ...],
    ) -> None:
        self._places, self._home = places, customers.home
        self._span = len(rhythm.day_start)
        count = rng.poisson(customers.travel * (self._span + 14) / 365)
        customer = np.repeat(np.arange(len(customers)), count)
        first = rng.integers(-14, self._span, len(customer))
        time_ms = rhythm.day_start[np.clip(first, 0, self._span - 1)]
        goes = rng.random(len(first)) >= 0.95 * strength(events, "pandemic", time_ms)
        order = np.lexsort((first, customer))
        customer, first, goes = customer[order], first[order], goes[order]
        last = first + 1 + rng.geometric(0.22, len(order))
        city = self._destinations(rng, self._home[customer])
        # Drawn for all and then dropped, so that an event leaves the other journeys alone.
        self._customer, self._first = customer[goes], first[goes]
        self._last, self._city = last[goes], city[goes]
        self._key = self._customer * (2 * self._span + 28) + self._first

    def city_on(self, rng: np.random.Generator, customer: Ints, day: Ints) -> Ints:
        """Return the city where each customer is on a day: home, a day's trip, or a journey."""
        city = self._home[customer].copy()
        out = np.nonzero(rng.random(len(city)) < _DAY_TRIP)[0]
        city[out] = self._places.draw_in_country(rng, city[out])
        if len(self._key) == 0:
            return city
        at = np.searchsorted(self._key, customer * (2 * self._span + 28) + day, "right") - 1
        at = np.maximum(at, 0)
        travels = (self._customer[at] == customer) & (self._first[at] <= day)
        travels &= day <= self._last[at]
        return np.where(travels, self._city[at], city)

    def _destinations(self, rng: np.random.Generator, home: Ints) -> Ints:
        abroad = rng.random(len(home)) < _ABROAD
        near, far = self._places.draw_in_country(rng, home), self._places.draw_abroad(rng, home)
        return np.where(abroad, far, near)
