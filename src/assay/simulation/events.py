"""Things that happen to the whole world, each with a start, an end and a switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from assay.errors import SettingsError
from assay.simulation.wheel import Floats, Ints

EventName = Literal["black_friday", "pandemic", "wallet", "voucher_ring"]

LOAD_AT_BLACK_FRIDAY: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """One switchable event.

    Parameters
    ----------
    name : str
        ``black_friday``: five times the load, retail most of all.
        ``pandemic``: shops and travel collapse, e-commerce grows.
        ``wallet``: a new payment method, taken up by a growing share of customers.
        ``voucher_ring``: a fraud pattern that does not exist before.
    start_ms, end_ms : int
        UTC milliseconds; the end is excluded, and None is never.
    intensity : float
        0 is nothing, 1 as described, 2 twice as much; at most 2.
    on : bool
        False is as if the event were not listed.

    Raises
    ------
    SettingsError
        If the name is unknown, the end is not after the start, or the intensity out of range.

    Examples
    --------
    >>> Event(name="pandemic", start_ms=10, end_ms=20).strength(np.array([9, 10, 20])).tolist()
    [0.0, 1.0, 0.0]
    """

    name: EventName
    start_ms: int
    end_ms: int | None = None
    intensity: float = 1.0
    on: bool = True

    def __post_init__(self) -> None:
        """Check the name, the order of times and the intensity."""
        if self.name not in get_args(EventName):
            accepted = ", ".join(get_args(EventName))
            raise SettingsError(f"event name is {self.name!r}; accepted: {accepted}")
        if self.end_ms is not None and self.end_ms <= self.start_ms:
            raise SettingsError(f"event end_ms is {self.end_ms}; accepted: after {self.start_ms}")
        if not 0 <= self.intensity <= 2:
            raise SettingsError(f"event intensity is {self.intensity}; accepted: 0 to 2")

    def strength(self, time_ms: Ints) -> Floats:
        """Return the intensity at each time; 0 outside the event or when it is switched off."""
        active = (time_ms >= self.start_ms) & self.on
        if self.end_ms is not None:
            active &= time_ms < self.end_ms
        return np.where(active, self.intensity, 0.0)

    def touches(self, from_ms: Ints, to_ms: Ints) -> Floats:
        """Return the greatest intensity within each stretch [from_ms, to_ms)."""
        hit = (to_ms > self.start_ms) & self.on
        if self.end_ms is not None:
            hit &= from_ms < self.end_ms
        return np.where(hit, self.intensity, 0.0)


def strength(events: tuple[Event, ...], name: EventName, time_ms: Ints) -> Floats:
    """Return the greatest intensity of the events of one name at each time."""
    out = np.zeros(len(time_ms))
    for event in events:
        if event.name == name:
            np.maximum(out, event.strength(time_ms), out=out)
    return out
