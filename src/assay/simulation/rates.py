"""Daily exchange rates: a seeded random walk."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from assay.records import DAY_MS
from assay.simulation.wheel import Floats, Ints

CURRENCIES: Final = ("EUR", "GBP", "USD", "PLN", "JPY", "CHF", "SEK", "CZK")
DECIMALS: Final = np.array([2, 2, 2, 2, 0, 2, 2, 2])
BANKNOTE: Final = np.array([10, 10, 20, 50, 1000, 10, 100, 200])
"""The unit in which a cash machine pays, in major units."""

_EUROS: Final = np.array([1.0, 1.17, 0.92, 0.232, 0.0061, 1.05, 0.088, 0.0405])
_STEP: Final = 0.004  # standard deviation of a day's logarithmic change


class Rates:
    """What one unit of each currency buys, day by day.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    start_ms, end_ms : int
        The rates run from the day before `start_ms` to the day of `end_ms`, UTC.
    """

    def __init__(self, rng: np.random.Generator, start_ms: int, end_ms: int) -> None:
        self._first_day = start_ms // DAY_MS - 1
        days = end_ms // DAY_MS - self._first_day + 1
        steps = rng.normal(0, _STEP, (days, len(CURRENCIES)))
        steps[:, 0] = 0  # the euro against itself
        self._euros: Floats = _EUROS * np.exp(np.cumsum(steps, axis=0))

    def euros(self, time_ms: Ints, currency: Ints) -> Floats:
        """Return how many euros one unit of `currency` buys on the UTC day of `time_ms`."""
        day = np.clip(time_ms // DAY_MS - self._first_day, 0, len(self._euros) - 1)
        return self._euros[day, currency]

    def frame(self, reference: str) -> pl.DataFrame:
        """Return date, currency and rate: units of `reference` that one unit buys."""
        days, n = self._euros.shape
        rate = self._euros / self._euros[:, [CURRENCIES.index(reference)]]
        day = np.repeat(np.arange(self._first_day, self._first_day + days), n)
        return pl.DataFrame(
            {
                "date": pl.Series(day.astype(np.int32)).cast(pl.Date).dt.strftime("%Y-%m-%d"),
                "currency": list(CURRENCIES) * days,
                "rate": np.round(rate.ravel(), 8),
            }
        )
