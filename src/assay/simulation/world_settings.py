"""What a world is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from assay.errors import SettingsError
from assay.records import DAY_MS
from assay.simulation.events import Event
from assay.simulation.rates import CURRENCIES

MERCHANTS_LEAST: Final = 100


@dataclass(frozen=True, kw_only=True)
class WorldSettings:
    """Everything that decides a world: equal settings give equal worlds.

    Parameters
    ----------
    start_ms, end_ms : int
        UTC milliseconds; the end is excluded.
    seed : int
        Not negative.
    customers, merchants : int
        How many.
    transactions : int
        About how many rows a world without events has; events change it.
    reference_currency : str
        What the exchange rates are quoted in.
    events : tuple of Event
        What happens on top of ordinary life.

    Raises
    ------
    SettingsError
        If a value is out of range.
    """

    start_ms: int
    end_ms: int
    seed: int = 1
    customers: int = 10_000
    merchants: int = 3_000
    transactions: int = 500_000
    reference_currency: str = "EUR"
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        """Check ranges."""
        least = {
            "seed": 0,
            "customers": 10,
            "merchants": MERCHANTS_LEAST,
            "transactions": 100,
            "end_ms": self.start_ms + DAY_MS,
        }
        for name, low in least.items():
            if getattr(self, name) < low:
                raise SettingsError(f"{name} is {getattr(self, name)}; accepted: {low} or more")
        if self.reference_currency not in CURRENCIES:
            accepted = ", ".join(CURRENCIES)
            raise SettingsError(
                f"reference_currency is {self.reference_currency!r}; accepted: {accepted}"
            )
