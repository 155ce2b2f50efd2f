"""Merchants: where they are, what they sell, how big they are and when they are open."""

from __future__ import annotations

from typing import Final

import numpy as np

from assay.records import DAY_MS
from assay.simulation.categories import Categories
from assay.simulation.places import EARTH_RADIUS_KM, Places
from assay.simulation.wheel import Bools, Floats, Ints, Wheel
from assay.simulation.zones import MINUTE_MS

NEVER_CLOSED: Final = -1
MONDAY: Final = 0
SUNDAY: Final = 6

_TAIL: Final = 1.05  # Pareto exponent of size: the few largest make most of the volume
_SIZE_MAX: Final = 3000.0
_SUNDAY_LAW: Final = ("DE", "AT", "CH", "PL")  # countries where most shops close on Sundays
_WORDS: Final = (
    *("Alder", "Amber", "Anchor", "Aurora", "Birch", "Blue", "Cedar", "Clover", "Comet"),
    *("Corner", "Crown", "Delta", "Dove", "Eagle", "Elm", "Falcon", "Fern", "Garden"),
    *("Golden", "Harbour", "Hazel", "Heron", "Iris", "Ivory", "Juniper", "Lark", "Lemon"),
    *("Linden", "Lotus", "Maple", "Meadow", "Mill", "North", "Oak", "Olive", "Orchid"),
    *("Pearl", "Pine", "Plaza", "Quartz", "River", "Robin", "Rose", "Sage", "Silver"),
    *("Star", "Stone", "Swan", "Tulip", "Violet", "Willow", "Wren"),
)


class Merchants:
    """All merchants, as columns of shape (merchants,).

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    n : int
        How many; at least one for each category.
    places, categories
        Where they can be and what they can sell.

    Attributes
    ----------
    category, city : ndarray of int
        Indices; a web shop's city is its seat.
    size : ndarray of float
        Relative volume among merchants of the same kind and place, heavy-tailed.
    price : ndarray of float
        Factor on the category's amounts.
    open_min, close_min : ndarray of int
        Local minutes after midnight; beyond 1440 is the next day.
    closed_day : ndarray of int
        Weekday it rests, Monday is 0; `NEVER_CLOSED` for none.
    latitude, longitude : ndarray of float
        Degrees.
    names : list of str
        For people.
    """

    def __init__(
        self, rng: np.random.Generator, n: int, places: Places, categories: Categories
    ) -> None:
        self.places, self.categories = places, categories
        kinds = len(categories)
        share = np.sqrt(categories.share) / np.sqrt(categories.share).sum()
        self.category: Ints = np.concatenate(
            [np.arange(kinds), rng.choice(kinds, n - kinds, p=share)]
        )
        self.city: Ints = self._spread_over_cities(rng)
        self.online: Bools = categories.online[self.category]
        self.size: Floats = np.minimum(1 + rng.pareto(_TAIL, n), _SIZE_MAX)
        self.price: Floats = np.exp(rng.normal(0, 0.25, n))
        self.latitude: Floats = places.latitude[self.city] + rng.normal(0, 0.04, n)
        self.longitude: Floats = places.longitude[self.city] + rng.normal(0, 0.06, n)
        word = rng.integers(0, len(_WORDS), n)
        self.names = [
            f"{_WORDS[w]} {categories.nouns[k]} {places.names[c]}"
            for w, k, c in zip(word, self.category, self.city, strict=True)
        ]
        self._set_hours(rng)
        self._wheel = Wheel(self._group(self.city, self.category), self.size)
        self._nearest = self._nearest_city()

    def __len__(self) -> int:
        return len(self.category)

    def draw(self, rng: np.random.Generator, city: Ints, category: Ints) -> Ints:
        """Return a merchant of each category: in the city or next to it, or on the web."""
        return self._wheel.draw(rng, self._group(self._nearest[category, city], category))

    def open_at(self, merchant: Ints, local_ms: Ints) -> Bools:
        """Return whether each merchant is open at its local time."""
        minute = local_ms // MINUTE_MS % 1440
        weekday = weekday_of(local_ms)
        opens, closes = self.open_min[merchant], self.close_min[merchant]
        rest = self.closed_day[merchant]
        today = (opens <= minute) & (minute < closes) & (rest != weekday)
        return np.asarray(today | ((minute + 1440 < closes) & (rest != (weekday - 1) % 7)))

    def settle(self, rng: np.random.Generator, merchant: Ints, local_ms: Ints) -> Ints:
        """Return local times moved into opening hours: that day's, or the next if it rests."""
        opens, closes = self.open_min[merchant], self.close_min[merchant]
        midnight = local_ms - local_ms % DAY_MS
        rests = weekday_of(local_ms) == self.closed_day[merchant]
        minute = opens + rng.random(len(opens)) * (closes - opens)
        moved = midnight + rests * DAY_MS + (minute * MINUTE_MS).astype(np.int64)
        return np.where(self.open_at(merchant, local_ms), local_ms, moved)

    def _spread_over_cities(self, rng: np.random.Generator) -> Ints:
        """Return a city for each merchant, every category spread evenly over the population."""
        order = np.argsort(self.category, kind="stable")
        ordered = self.category[order]
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
        count = np.bincount(self.category)[self.category]
        place = (rank + rng.random(len(rank))) / count
        edges = np.cumsum(self.places.weight)
        return np.minimum(np.searchsorted(edges, place, "right"), len(edges) - 1)

    def _set_hours(self, rng: np.random.Generator) -> None:
        n, kinds = len(self.category), self.categories
        always = (kinds.open_h[self.category] == 0) & (kinds.close_h[self.category] == 24)
        early, late = rng.integers(-1, 2, n), rng.integers(-1, 2, n)
        self.open_min: Ints = (kinds.open_h[self.category] * 60 + early * 30) * ~always
        self.close_min: Ints = kinds.close_h[self.category] * 60 + late * 30 * ~always
        is_shop = np.isin(self.category, [i for i, w in enumerate(kinds.week) if w == "shop"])
        law = np.isin(np.array(self.places.countries)[self.city], _SUNDAY_LAW)
        sunday = is_shop & (rng.random(n) < np.where(law, 0.9, 0.15))
        dining = np.isin(self.category, kinds.index("Restaurant", "Bar"))
        monday = dining & (rng.random(n) < 0.25)
        self.closed_day: Ints = np.select([sunday, monday], [SUNDAY, MONDAY], NEVER_CLOSED)

    def _group(self, city: Ints, category: Ints) -> Ints:
        web = len(self.places)
        place = np.where(self.categories.online[category], web, city)
        return category * (web + 1) + place

    def _nearest_city(self) -> Ints:
        """Return the nearest city that has the category, shape (categories, cities).

        A city of the same country is nearer than any other.
        """
        has = np.zeros((len(self.categories), len(self.places)), bool)
        has[self.category, self.city] = True
        country = self.places.country
        border = np.where(country[:, None] == country, 0.0, 2 * np.pi * EARTH_RADIUS_KM)
        far = np.where(has[:, None, :], self.places.distance_km() + border, np.inf)
        return np.asarray(far.argmin(axis=2))


def weekday_of(local_ms: Ints) -> Ints:
    """Return the weekday, Monday is 0.

    Examples
    --------
    >>> int(weekday_of(np.array([0]))[0])  # 1 January 1970 was a Thursday
    3
    """
    return (local_ms // DAY_MS + 3) % 7
