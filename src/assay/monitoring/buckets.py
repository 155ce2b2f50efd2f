"""Widths of bars: few enough to draw, and round numbers to a person."""

from __future__ import annotations

from typing import Final

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS

POINTS_MAX: Final = 120

WIDTHS_MS: Final = (
    1_000,
    5_000,
    15_000,
    *(minutes * _MINUTE_MS for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * _HOUR_MS for hours in (1, 2, 3, 6, 12)),
    *(days * _DAY_MS for days in (1, 2, 7, 14, 28, 91, 364)),
)


def width_ms(from_ms: int, to_ms: int, least_ms: int = 1, points_max: int = POINTS_MAX) -> int:
    """Return the least round width that cuts a span into so many buckets at most.

    Parameters
    ----------
    from_ms, to_ms : int
        UTC milliseconds; the end is excluded.
    least_ms : int
        Width of what is merged: the result is a multiple of it.
    points_max : int

    Examples
    --------
    >>> width_ms(0, 86_400_000) // 60_000
    15
    """
    fitting = (
        width
        for width in (least_ms, *WIDTHS_MS)
        if width % least_ms == 0 and (to_ms - 1) // width - from_ms // width < points_max
    )
    span = max(1, -(-(to_ms - from_ms) // (points_max - 1)))
    return next(fitting, -(-span // least_ms) * least_ms)
