"""Customers: homes, habits, cards, devices and addresses on the net."""

from __future__ import annotations

from typing import Final

import numpy as np

from assay.records import DAY_MS
from assay.simulation.merchants import Merchants
from assay.simulation.wheel import Bools, Floats, Ints, Wheel

FAVOURITES: Final = 16
DEVICES: Final = 3
SEGMENTS: Final = 8

_ACTIVITY_SHAPE: Final = 1.3  # of a gamma distribution: some customers hardly use their card
_DEVICE_LIFE_DAYS: Final = 500
_LEASE_DAYS: Final = 45  # how long a home keeps its address
_HOME_NET: Final = 0x20000000  # 32.0.0.0 to 47.255.255.255
_CARRIER_NET: Final = 0x40000000
_HOTSPOT_NET: Final = 0x50000000
_VPN_NET: Final = 0x58000000


class Customers:
    """All customers, as columns of shape (customers,).

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    n : int
        How many.
    merchants : Merchants
        Among whom each customer finds favourites.
    start_ms : int
        Devices and addresses change at times counted from here.

    Attributes
    ----------
    home : ndarray of int
        City.
    latitude, longitude : ndarray of float
        Of the home, in degrees.
    spend : ndarray of float
        Personal factor on amounts.
    segment : ndarray of int
        Taste in categories.
    shift_min : ndarray of float
        How much later than others the customer's day runs, in minutes.
    travel : ndarray of float
        Trips a year.
    strapped : ndarray of float
        Probability that the account lacks the money.
    shares_location : ndarray of bool
        Whether apps and web shops learn the coordinates.
    adoption : ndarray of float
        Rank in [0, 1] in which the customer takes up a new payment method.
    abuser : ndarray of bool
        True for the few who dispute what they bought themselves.
    first_card, cards : ndarray of int
        Number of the first card, and how many follow (1 or 2).
    """

    def __init__(
        self, rng: np.random.Generator, n: int, merchants: Merchants, start_ms: int
    ) -> None:
        places = merchants.places
        self._start_ms, self._places = start_ms, places
        self.home: Ints = places.draw(rng, n)
        self.latitude: Floats = places.latitude[self.home] + rng.normal(0, 0.05, n)
        self.longitude: Floats = places.longitude[self.home] + rng.normal(0, 0.07, n)
        self.spend: Floats = np.exp(rng.normal(0, 0.45, n))
        self.segment: Ints = rng.integers(0, SEGMENTS, n)
        self.shift_min: Floats = rng.normal(0, 75, n)
        self.travel: Floats = rng.gamma(0.9, 3.2, n)
        self.strapped: Floats = rng.beta(0.5, 22, n)
        self.shares_location: Bools = rng.random(n) < 0.6
        self.adoption: Floats = rng.random(n)
        self.abuser: Bools = rng.random(n) < 0.01
        self.cards: Ints = 1 + (rng.random(n) < 0.3)
        self.first_card: Ints = np.cumsum(self.cards) - self.cards
        self._own_devices: Ints = 1 + rng.binomial(DEVICES - 1, 0.35, n)
        self._new_device_day = rng.integers(0, _DEVICE_LIFE_DAYS, (n, DEVICES))
        self._home_ip = rng.integers(0, 1 << 28, n)
        activity = rng.gamma(_ACTIVITY_SHAPE, 1.0, n) + 0.02
        self._active = Wheel(np.zeros(n, np.int64), activity)
        self._tastes = _tastes(rng, merchants)
        self.favourites: Ints = self._choose_favourites(rng, merchants)

    def __len__(self) -> int:
        return len(self.home)

    @property
    def device_codes(self) -> int:
        """Number of device codes that customers use up."""
        return len(self) * DEVICES * 2

    def draw(self, rng: np.random.Generator, n: int) -> Ints:
        """Return n customers, active ones more often."""
        return self._active.draw(rng, np.zeros(n, np.int64))

    def draw_category(self, rng: np.random.Generator, customer: Ints) -> Ints:
        """Return a category for each customer, to the taste of the segment."""
        return self._tastes.draw(rng, self.segment[customer]) % self._kinds

    def draw_card(self, rng: np.random.Generator, customer: Ints) -> Ints:
        """Return a card of each customer, the first most often."""
        second = (self.cards[customer] > 1) & (rng.random(len(customer)) < 0.25)
        return self.first_card[customer] + second

    def draw_device(self, rng: np.random.Generator, customer: Ints, time_ms: Ints) -> Ints:
        """Return a device of each customer: mostly the first, replaced some day by a new one."""
        n = len(customer)
        slot = (rng.random(n) ** 2 * self._own_devices[customer]).astype(np.int64)
        borrowed = rng.random(n) < 0.008
        owner = np.where(borrowed, rng.integers(0, len(self), n), customer)
        renewed = self._days(time_ms) >= self._new_device_day[owner, slot]
        return (owner * DEVICES + slot) * 2 + renewed

    def device_is_new(self, device: Ints, time_ms: Ints) -> Bools:
        """Return whether each customer's device is in its first three days of use."""
        owner, slot = device // 2 // DEVICES, device // 2 % DEVICES
        age = self._days(time_ms) - self._new_device_day[owner, slot]
        return np.asarray((device % 2 == 1) & (age <= 3))

    def draw_ip(self, rng: np.random.Generator, customer: Ints, city: Ints, time_ms: Ints) -> Ints:
        """Return an address for each customer in a city: home, carrier, hot spot or VPN."""
        n = len(customer)
        lease = (self._days(time_ms) + customer) // _LEASE_DAYS
        home = _HOME_NET + (self._home_ip[customer] + lease * 7919) % (1 << 28)
        carrier = draw_carrier_ip(rng, self._places.country[city])
        hotspot = _HOTSPOT_NET + city * 256 + rng.integers(0, 60, n)
        at_home = np.where(city == self.home[customer], home, hotspot)
        u = rng.random(n)
        return np.select([u < 0.56, u < 0.965], [at_home, carrier], draw_vpn_ip(rng, n))

    def _days(self, time_ms: Ints) -> Ints:
        return (time_ms - self._start_ms) // DAY_MS

    def _choose_favourites(self, rng: np.random.Generator, merchants: Merchants) -> Ints:
        self._kinds = len(merchants.categories)
        customer = np.repeat(np.arange(len(self)), FAVOURITES)
        category = self.draw_category(rng, customer)
        chosen = merchants.draw(rng, self.home[customer], category)
        return chosen.reshape(len(self), FAVOURITES)


def draw_carrier_ip(rng: np.random.Generator, country: Ints) -> Ints:
    """Return addresses of mobile carriers, each shared by many customers of the country."""
    return _CARRIER_NET + country * 65_536 + rng.integers(0, 400, len(country))


def draw_vpn_ip(rng: np.random.Generator, n: int) -> Ints:
    """Return addresses of VPN exits, shared by honest people and fraudsters."""
    return _VPN_NET + rng.integers(0, 300, n)


def draw_home_ip(rng: np.random.Generator, n: int) -> Ints:
    """Return addresses of anybody's home, as a residential proxy gives them."""
    return _HOME_NET + rng.integers(0, 1 << 28, n)


def _tastes(rng: np.random.Generator, merchants: Merchants) -> Wheel:
    categories = merchants.categories
    taste = np.exp(rng.normal(0, 0.5, (SEGMENTS, len(categories))))
    weight = categories.share * taste / taste.mean(axis=0)
    return Wheel(np.repeat(np.arange(SEGMENTS), len(categories)), weight.ravel())
