"""Which period a page is asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

from assay.errors import InputError

QUICK_H: Final = {"24h": 24, "7d": 7 * 24, "30d": 30 * 24}
"""Ranges that end at the newest event, by the name that stands in an address."""


class Period(NamedTuple):
    """From and to in stream time, UTC milliseconds; None is open."""

    from_ms: int | None
    to_ms: int | None


def read_period(from_: str, to: str, last: str, stream_ms: int | None) -> Period:
    """Return the period that an address names.

    Parameters
    ----------
    from_, to : str
        ``2026-06-01T12:00`` in UTC, or milliseconds; ``""`` is open.
    last : str
        ``24h``, ``7d`` or ``30d`` before the newest event, which wins over the two; ``all`` or
        ``""`` otherwise.
    stream_ms : int or None
        The newest event.

    Raises
    ------
    InputError
        If a text is none of these, or the period holds nothing.
    """
    if last in QUICK_H:
        return Period(None if stream_ms is None else stream_ms - QUICK_H[last] * 3_600_000, None)
    if last not in {"", "all"}:
        raise InputError("last", "another word", ", ".join([*QUICK_H, "all"]))
    if last == "all":
        return Period(None, None)
    period = Period(_time("from", from_), _time("to", to))
    if None not in period and period.from_ms >= period.to_ms:  # type: ignore[operator]
        raise InputError("to", "a time that is not after from", "a period that holds something")
    return period


def _time(field: str, text: str) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            field, "text that is no time", "2026-06-01T12:00 in UTC, or milliseconds"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
