"""When people pay: by hour, weekday, pay day and season, and what events do to it."""

from __future__ import annotations

from typing import Final

import numpy as np

from assay.records import DAY_MS
from assay.simulation.categories import Categories
from assay.simulation.events import LOAD_AT_BLACK_FRIDAY, Event
from assay.simulation.merchants import weekday_of
from assay.simulation.wheel import Floats, Ints, Wheel

_WEEK: Final = {
    "flat": (1.0, 1.0, 1.0, 1.0, 1.05, 1.05, 0.95),
    "shop": (0.9, 0.9, 0.95, 1.0, 1.15, 1.45, 0.75),
    "office": (1.15, 1.2, 1.2, 1.2, 1.15, 0.6, 0.5),
    "leisure": (0.6, 0.7, 0.8, 0.95, 1.4, 1.6, 1.0),
    "online": (1.05, 1.0, 1.0, 1.0, 0.9, 0.9, 1.15),
}
_YEAR: Final = {
    "flat": (0.97, 0.96, 1.0, 1.0, 1.02, 1.02, 0.98, 0.96, 1.0, 1.02, 1.03, 1.1),
    "gift": (0.9, 0.8, 0.9, 0.95, 0.95, 0.95, 0.95, 0.9, 0.95, 1.0, 1.3, 1.7),
    "travel": (0.9, 0.85, 0.9, 1.0, 1.15, 1.35, 1.5, 1.4, 1.0, 0.85, 0.75, 0.9),
}
_DAY: Final = {  # 24 local hours, relative
    "shop": (0, 0, 0, 0, 0, 0, 0, 2, 4, 6, 8, 9, 8, 7, 7, 8, 10, 12, 11, 8, 4, 1, 0, 0),
    "day": (1, 0.5, 0.4, 0.4, 0.5, 1, 3, 6, 7, 7, 7, 7, 8, 7, 7, 7, 8, 9, 8, 6, 4, 3, 2, 1.5),
    "meal": (0.3, 0.1, 0, 0, 0, 0, 0, 2, 3, 2, 2, 6, 14, 11, 4, 2, 3, 5, 9, 12, 10, 6, 2, 1),
    "night": (5, 3, 1.5, 1, 0.5, 0.3, 0.3, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 5, 7, 9, 10, 10, 9, 7),
    "commute": (0.5, 0.3, 0, 0, 0.3, 1, 4, 11, 12, 6, 4, 4, 4, 4, 4, 6, 10, 13, 9, 5, 3, 2, 1.5, 1),
    "evening": (
        2.5,
        1.2,
        0.7,
        0.5,
        0.4,
        0.5,
        1,
        2,
        3,
        4,
        5,
        5,
        5,
        5,
        5,
        5,
        6,
        6,
        7,
        9,
        11,
        11,
        8,
        5,
    ),
    "flat": (3, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 4, 3),
}
_WEEKDAY: Final = np.array([0.95, 0.95, 0.97, 1.0, 1.12, 1.15, 0.86])
_PAY_DAY: Final = 1.12  # people spend more from the 26th to the 3rd


class Rhythm:
    """How many purchases of each category fall on each day and hour.

    Days are local calendar days, from the one before `start_ms` to the one after `end_ms`.

    Parameters
    ----------
    start_ms, end_ms : int
        UTC milliseconds.
    categories : Categories
        Each names its rhythms.
    events : tuple of Event
        Black Friday and pandemic change the load.
    """

    def __init__(
        self, start_ms: int, end_ms: int, categories: Categories, events: tuple[Event, ...]
    ) -> None:
        self._categories = categories
        self._events = tuple(e for e in events if e.name in ("black_friday", "pandemic"))
        self.first_day = start_ms // DAY_MS - 1
        self.day_start: Ints = np.arange(self.first_day, -(-end_ms // DAY_MS) + 1) * DAY_MS
        self._plain = self._plain_load()
        self._bound = (self._plain * self._event_bound()).max(axis=0)
        self._days = Wheel(np.zeros(len(self.day_start), np.int64), self._bound)
        inside = np.minimum(self.day_start + DAY_MS, end_ms) - np.maximum(self.day_start, start_ms)
        self._share_inside = np.clip(inside, 0, DAY_MS) / DAY_MS
        profile = np.array([_DAY[name] for name in categories.day], np.float64)
        self._hours = Wheel(np.repeat(np.arange(len(profile)), 24), profile.ravel())

    def draws_for(self, purchases: int) -> int:
        """Return how many days to draw so that `keep` leaves so many without any event."""
        kept = self._categories.share @ self._plain @ self._share_inside
        return int(np.rint(purchases * self._bound.sum() / kept))

    def draw_days(self, rng: np.random.Generator, n: int) -> Ints:
        """Return n days, as indices into `day_start`, at the rate of the busiest category."""
        return self._days.draw(rng, np.zeros(n, np.int64))

    def draw_minutes(self, rng: np.random.Generator, category: Ints) -> Floats:
        """Return a local minute of the day for each category, in [0, 1440)."""
        return (self._hours.draw(rng, category) % 24 + rng.random(len(category))) * 60

    def keep(self, category: Ints, day: Ints, time_ms: Ints) -> Floats:
        """Return the probability, in [0, 1], that a draw of that day and time takes place."""
        load = self._plain[category, day]
        for event in self._events:
            load = load * self._factor(event, category, event.strength(time_ms))
        return np.asarray(load / self._bound[day])

    def _plain_load(self) -> Floats:
        """Return the load without events, shape (categories, days)."""
        dates = self.day_start.astype("datetime64[ms]")
        month = dates.astype("datetime64[M]").astype(np.int64) % 12
        of_month = (dates.astype("datetime64[D]") - dates.astype("datetime64[M]")).astype(np.int64)
        weekday = weekday_of(self.day_start)
        common = _WEEKDAY[weekday] * np.where((of_month >= 25) | (of_month < 3), _PAY_DAY, 1.0)
        week = np.array([_WEEK[name] for name in self._categories.week])
        year = np.array([_YEAR[name] for name in self._categories.year])
        return np.asarray(common * week[:, weekday] * year[:, month])

    def _event_bound(self) -> Floats:
        out = np.ones_like(self._plain)
        every = np.arange(len(self._categories))
        # A local day may begin or end 14 hours away from the UTC day of the same date.
        from_ms, to_ms = self.day_start - DAY_MS, self.day_start + 2 * DAY_MS
        for event in self._events:
            for strength in np.unique(hit := event.touches(from_ms, to_ms)):
                factor = self._factor(event, every, np.full(len(every), strength))
                out[:, hit == strength] *= np.maximum(factor, 1.0)[:, None]
        return out

    def _factor(self, event: Event, category: Ints, strength: Floats) -> Floats:
        if event.name == "pandemic":
            change = self._categories.pandemic[category] - 1
            return np.maximum(1 + strength * change, 0.0)
        tilt = np.where(self._categories.retail[category], 1.7, 0.82)
        return 1 + (LOAD_AT_BLACK_FRIDAY - 1) * strength * tilt
