from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.records import DAY_MS
from assay.simulation.places import Places
from assay.simulation.zones import Zones

START_MS = 1_735_689_600_000  # 2025, with both clock changes
NAMES = Places().zones
ZONES = Zones(NAMES, START_MS, START_MS + 365 * DAY_MS)


@given(st.integers(0, 365 * DAY_MS - 1), st.integers(0, len(NAMES) - 1))
def test_offsets_equal_the_standard_library(after_ms: int, zone: int) -> None:
    """The hourly table gives the offset that zoneinfo gives, and local time goes back to UTC."""
    utc = np.array([START_MS + after_ms])
    moment = dt.datetime.fromtimestamp(int(utc[0]) / 1000, ZoneInfo(NAMES[zone]))
    offset = moment.utcoffset()
    assert offset is not None
    assert ZONES.offset_min(np.array([zone]), utc)[0] == offset.total_seconds() / 60
    back = ZONES.to_utc(np.array([zone]), ZONES.to_local(np.array([zone]), utc))[0]
    assert back in (utc[0], utc[0] - 3_600_000, utc[0] + 3_600_000)  # an hour may stand twice


def test_local_time_returns_to_utc_away_from_clock_changes() -> None:
    """In the middle of summer, local time and UTC are exact inverses."""
    zone = np.arange(len(NAMES))
    utc = np.full(len(NAMES), START_MS + 190 * DAY_MS + 12_345_678)
    assert (ZONES.to_utc(zone, ZONES.to_local(zone, utc)) == utc).all()
