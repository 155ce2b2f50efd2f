"""Local time and UTC, for arrays over many time zones."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from assay.records import DAY_MS
from assay.simulation.wheel import Ints

HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000


class Zones:
    """UTC offsets of some IANA zones over a stretch of time, hour by hour.

    Zones change their offset on full UTC hours, so a table per hour is exact.

    Parameters
    ----------
    names : tuple of str
        IANA names.
    start_ms, end_ms : int
        The stretch; a margin of three days each side is included.
    """

    def __init__(self, names: tuple[str, ...], start_ms: int, end_ms: int) -> None:
        self._first_hour = (start_ms - 3 * DAY_MS) // HOUR_MS
        hours = np.arange(self._first_hour, (end_ms + 3 * DAY_MS) // HOUR_MS) * HOUR_MS
        utc = pl.Series(hours).cast(pl.Datetime("ms", "UTC"))
        self._offset_min = np.stack([_offsets_min(utc, name) for name in names])

    def offset_min(self, zone: Ints, utc_ms: Ints) -> Ints:
        """Return the offset from UTC, in minutes; times outside the stretch take its edge."""
        hour = utc_ms // HOUR_MS - self._first_hour
        return self._offset_min[zone, np.clip(hour, 0, self._offset_min.shape[1] - 1)]

    def to_local(self, zone: Ints, utc_ms: Ints) -> Ints:
        """Return local wall-clock milliseconds."""
        return utc_ms + self.offset_min(zone, utc_ms) * MINUTE_MS

    def to_utc(self, zone: Ints, local_ms: Ints) -> Ints:
        """Return UTC milliseconds; a second look corrects times next to a clock change."""
        guess = local_ms - self.offset_min(zone, local_ms) * MINUTE_MS
        return local_ms - self.offset_min(zone, guess) * MINUTE_MS


def _offsets_min(utc: pl.Series, name: str) -> Ints:
    local = utc.dt.convert_time_zone(name).dt
    total = local.base_utc_offset() + local.dst_offset()
    return total.dt.total_minutes().to_numpy().astype(np.int64)
