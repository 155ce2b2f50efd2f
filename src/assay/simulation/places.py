"""Cities with countries, coordinates, time zones and currencies."""

from __future__ import annotations

from typing import Final

import numpy as np

from assay.simulation.rates import CURRENCIES
from assay.simulation.wheel import Floats, Ints, Wheel

EARTH_RADIUS_KM: Final = 6371.0

# name, country, latitude, longitude, time zone, customers who live there (relative)
_CITIES: Final = (
    ("Berlin", "DE", 52.52, 13.40, "Europe/Berlin", 9),
    ("Hamburg", "DE", 53.55, 9.99, "Europe/Berlin", 5),
    ("Munich", "DE", 48.14, 11.58, "Europe/Berlin", 5),
    ("Cologne", "DE", 50.94, 6.96, "Europe/Berlin", 4),
    ("Frankfurt", "DE", 50.11, 8.68, "Europe/Berlin", 3),
    ("Paris", "FR", 48.86, 2.35, "Europe/Paris", 9),
    ("Lyon", "FR", 45.76, 4.84, "Europe/Paris", 3),
    ("Marseille", "FR", 43.30, 5.37, "Europe/Paris", 3),
    ("Madrid", "ES", 40.42, -3.70, "Europe/Madrid", 6),
    ("Barcelona", "ES", 41.39, 2.17, "Europe/Madrid", 4),
    ("Las Palmas", "ES", 28.12, -15.43, "Atlantic/Canary", 1),
    ("Lisbon", "PT", 38.72, -9.14, "Europe/Lisbon", 4),
    ("Porto", "PT", 41.15, -8.61, "Europe/Lisbon", 2),
    ("Rome", "IT", 41.90, 12.50, "Europe/Rome", 5),
    ("Milan", "IT", 45.46, 9.19, "Europe/Rome", 4),
    ("Naples", "IT", 40.85, 14.27, "Europe/Rome", 2),
    ("Amsterdam", "NL", 52.37, 4.90, "Europe/Amsterdam", 4),
    ("Rotterdam", "NL", 51.92, 4.48, "Europe/Amsterdam", 2),
    ("Brussels", "BE", 50.85, 4.35, "Europe/Brussels", 3),
    ("Vienna", "AT", 48.21, 16.37, "Europe/Vienna", 4),
    ("Dublin", "IE", 53.35, -6.26, "Europe/Dublin", 3),
    ("Helsinki", "FI", 60.17, 24.94, "Europe/Helsinki", 2),
    ("Athens", "GR", 37.98, 23.73, "Europe/Athens", 2),
    ("London", "GB", 51.51, -0.13, "Europe/London", 6),
    ("Manchester", "GB", 53.48, -2.24, "Europe/London", 2),
    ("Edinburgh", "GB", 55.95, -3.19, "Europe/London", 1),
    ("Warsaw", "PL", 52.23, 21.01, "Europe/Warsaw", 4),
    ("Krakow", "PL", 50.06, 19.94, "Europe/Warsaw", 2),
    ("Zurich", "CH", 47.38, 8.54, "Europe/Zurich", 2),
    ("Geneva", "CH", 46.20, 6.14, "Europe/Zurich", 1),
    ("Stockholm", "SE", 59.33, 18.07, "Europe/Stockholm", 2),
    ("Gothenburg", "SE", 57.71, 11.97, "Europe/Stockholm", 1),
    ("Prague", "CZ", 50.08, 14.44, "Europe/Prague", 2),
    ("New York", "US", 40.71, -74.01, "America/New_York", 1),
    ("Miami", "US", 25.76, -80.19, "America/New_York", 0.5),
    ("Los Angeles", "US", 34.05, -118.24, "America/Los_Angeles", 0.5),
    ("Tokyo", "JP", 35.68, 139.69, "Asia/Tokyo", 0.5),
    ("Osaka", "JP", 34.69, 135.50, "Asia/Tokyo", 0.3),
)

_CURRENCY_OF: Final = {
    "GB": "GBP",
    "PL": "PLN",
    "CH": "CHF",
    "SE": "SEK",
    "CZ": "CZK",
    "US": "USD",
    "JP": "JPY",
}


class Places:
    """The cities of the world, as columns of shape (cities,).

    Attributes
    ----------
    names, countries : tuple of str
        City name and ISO 3166 alpha-2 code.
    latitude, longitude : ndarray of float
        Degrees.
    zone : ndarray of int
        Index into `zones`, the IANA names in use.
    currency : ndarray of int
        Index into `rates.CURRENCIES`.
    country : ndarray of int
        Index of the country.
    weight : ndarray of float
        Share of customers who live there; they add up to 1.
    """

    def __init__(self) -> None:
        names, countries, latitude, longitude, zones, weight = zip(*_CITIES, strict=True)
        self.names: tuple[str, ...] = names
        self.countries: tuple[str, ...] = countries
        self.latitude: Floats = np.array(latitude, np.float64)
        self.longitude: Floats = np.array(longitude, np.float64)
        self.zones: tuple[str, ...] = tuple(dict.fromkeys(zones))
        self.zone: Ints = np.array([self.zones.index(z) for z in zones])
        codes = [CURRENCIES.index(_CURRENCY_OF.get(c, "EUR")) for c in countries]
        self.currency: Ints = np.array(codes)
        order = list(dict.fromkeys(countries))
        self.country: Ints = np.array([order.index(c) for c in countries])
        self.weight: Floats = np.array(weight, np.float64) / sum(weight)
        self._same_country = self._wheel_of_country()

    def __len__(self) -> int:
        return len(self.names)

    def distance_km(self) -> Floats:
        """Return the great-circle distance between all pairs of cities, shape (n, n)."""
        lat, lon = np.radians(self.latitude), np.radians(self.longitude)
        half = np.sin((lat[:, None] - lat) / 2) ** 2
        half += np.cos(lat)[:, None] * np.cos(lat) * np.sin((lon[:, None] - lon) / 2) ** 2
        return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(half)))

    def draw(self, rng: np.random.Generator, n: int) -> Ints:
        """Return n cities, in proportion to their population."""
        return rng.choice(len(self), n, p=self.weight)

    def draw_in_country(self, rng: np.random.Generator, city: Ints) -> Ints:
        """Return, for each city, a city of the same country: often itself."""
        return self._same_country.draw(rng, self.country[city])

    def draw_abroad(self, rng: np.random.Generator, city: Ints) -> Ints:
        """Return, for each city, a city of another country, near ones more often."""
        near = 1 / (400 + self.distance_km())
        near[self.country[:, None] == self.country] = 0
        here, there = np.nonzero(near)
        return there[Wheel(here, near[here, there]).draw(rng, city)]

    def draw_far(self, rng: np.random.Generator, city: Ints, least_km: float) -> Ints:
        """Return, for each city, any city at least `least_km` away."""
        here, there = np.nonzero(self.distance_km() >= least_km)
        return there[Wheel(here, np.ones(len(here))).draw(rng, city)]

    def _wheel_of_country(self) -> Wheel:
        return Wheel(self.country, self.weight)
