from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import InputError
from assay.ingest.zones import NAMES, VERSION, local_to_utc_ms, offset_min

_ZONES = ["Europe/Lisbon", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"]


@given(st.sampled_from(_ZONES), st.integers(631_152_000_000, 4_102_444_799_999))
def test_offsets_are_those_of_the_database(zone: str, time_ms: int) -> None:
    """The cached offset is the zone's own, at any time."""
    there = datetime.fromtimestamp(time_ms / 1000, ZoneInfo(zone)).utcoffset()
    assert there is not None
    assert offset_min(zone, time_ms) == there.total_seconds() // 60


def test_change_inside_a_quarter_hour_is_exact() -> None:
    """St John's changed at one minute past midnight: order of questions changes no answer."""
    change = int(datetime(2007, 3, 11, 3, 31, tzinfo=UTC).timestamp() * 1000)
    assert [offset_min("America/St_Johns", change + d) for d in (0, -1, 0)] == [-150, -210, -150]


def test_wall_clock_to_utc() -> None:
    """The repeated hour is its first pass; the skipped one keeps the offset before it."""
    first = int(datetime(2026, 10, 25, 1, 30, tzinfo=UTC).timestamp() * 1000)
    assert local_to_utc_ms("Europe/Lisbon", first) == first - 3_600_000
    skipped = int(datetime(2026, 3, 29, 1, 30, tzinfo=UTC).timestamp() * 1000)
    assert local_to_utc_ms("Europe/Lisbon", skipped) == skipped


@pytest.mark.parametrize("name", ["Europe/Lisbonne", "../../etc/passwd", "", "europe/lisbon"])
def test_unknown_zones_are_refused(name: str) -> None:
    """Only names of the database are opened."""
    with pytest.raises(InputError, match="IANA"):
        offset_min(name, 0)
    assert VERSION
    assert len(NAMES) > 400
