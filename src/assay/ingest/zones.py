"""UTC offsets of IANA time zones, from the pinned ``tzdata`` package.

The machine's own zone files are never read: two machines with the same lock file agree.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

from assay.errors import InputError

VERSION: Final = version("tzdata")
"""Of the package, such as ``2026.1``: its first release of that year."""

NAMES: Final = frozenset(files("tzdata").joinpath("zones").read_text("utf-8").split())

_QUARTER_MS: Final = 900_000
_CACHE_MAX: Final = 1_000_000
_offsets: dict[tuple[str, int], int] = {}


def offset_min(zone: str, time_ms: int) -> int:
    """Return how many minutes a zone is ahead of UTC at a UTC time.

    Cached by quarter of an hour. The few quarters within which an offset changes (some
    zones changed at one minute past midnight) are computed each time.

    Raises
    ------
    InputError
        If the zone is unknown.

    Examples
    --------
    >>> offset_min("Europe/Lisbon", 1_751_328_000_000)
    60
    """
    key = (zone, time_ms // _QUARTER_MS)
    found = _offsets.get(key)
    return found if found is not None else _compute(zone, time_ms, key)


def local_to_utc_ms(zone: str, local_ms: int) -> int:
    """Return the UTC time of a zone's wall clock; the earlier one where the clock repeats.

    A wall time that a clock change skips is read with the offset before the change.
    """
    naive = datetime.fromtimestamp(local_ms // 1000, UTC)
    offset = naive.replace(tzinfo=_zone(zone)).utcoffset()
    assert offset is not None
    return local_ms - int(offset.total_seconds()) * 1000


def _compute(zone: str, time_ms: int, key: tuple[str, int]) -> int:
    start_ms = key[1] * _QUARTER_MS
    info = _zone(zone)
    first, last = _at(info, start_ms), _at(info, start_ms + _QUARTER_MS - 1)
    if first != last:
        return _at(info, time_ms)
    if len(_offsets) >= _CACHE_MAX:
        _offsets.clear()
    _offsets[key] = first
    return first


def _at(info: ZoneInfo, time_ms: int) -> int:
    offset = datetime.fromtimestamp(time_ms // 1000, info).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) // 60


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    if name not in NAMES:
        raise InputError(
            "merchant_time_zone", "text that names no zone", "an IANA name such as Europe/Lisbon"
        )
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
