"""How fast the scorer answered, from one reading of its counters to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete
from sqlalchemy.dialects.sqlite import insert

from assay.control.schema import LATENCY
from assay.records import DAY_MS

KEPT_DAYS: Final = 7
_HOUR_MS: Final = 3_600_000


class Latency:
    """Turns successive documents of counters into rows.

    The counters are sums since the scorer's start. What was the case before the first reading is
    not known, so the first gives no row; counters that went down were of a scorer that has
    started anew, and count from zero.
    """

    def __init__(self) -> None:
        self._before: Mapping[str, Any] | None = None
        self._at_ms = 0

    def reading(
        self, connection: Connection, counters: Mapping[str, Any], at_ms: int, stream_ms: int
    ) -> None:
        """Write what happened since the reading before.

        Parameters
        ----------
        connection : Connection
        counters : Mapping
            ``latency_ms`` with ``le`` (upper bounds) and ``counts`` (cumulative, the last one is
            all), ``refused`` and ``errors``.
        at_ms : int
            Wall time.
        stream_ms : int
            Stream time.
        """
        before, took_ms = self._before, at_ms - self._at_ms
        if before is not None and took_ms > 0:
            row = _row(before, counters, took_ms)
            statement = insert(LATENCY).values(at_ms=at_ms, stream_ms=stream_ms, **row)
            connection.execute(statement.on_conflict_do_nothing())
            if at_ms // _HOUR_MS != self._at_ms // _HOUR_MS:
                oldest_ms = at_ms - KEPT_DAYS * DAY_MS
                connection.execute(delete(LATENCY).where(LATENCY.c.at_ms < oldest_ms))
        self._before, self._at_ms = counters, at_ms


def quantile_ms(bounds: Sequence[float], cumulative: Sequence[int], q: float) -> float | None:
    """Return a quantile of a histogram, linear within a bucket.

    Parameters
    ----------
    bounds : sequence of float
        Upper bounds of the buckets, rising; the first begins at 0.
    cumulative : sequence of int
        How many lie at or below each bound. A last one more than there are bounds is all, with
        what lies beyond the last bound, for which that bound is returned.
    q : float
        In (0, 1].

    Returns
    -------
    float or None
        None without observations.

    Examples
    --------
    >>> quantile_ms([1.0, 2.0], [5, 10, 10], 0.75)
    1.5
    """
    total = cumulative[-1] if cumulative else 0
    if total <= 0:
        return None
    low, below = 0.0, 0
    for bound, count in zip(bounds, cumulative, strict=False):
        if count >= q * total:
            return low + (bound - low) * (q * total - below) / (count - below)
        low, below = bound, count
    return low


def _row(before: Mapping[str, Any], now: Mapping[str, Any], took_ms: int) -> dict[str, Any]:
    bounds, counts = now["latency_ms"]["le"], now["latency_ms"]["counts"]
    old = before["latency_ms"]["counts"]
    same = before["latency_ms"]["le"] == bounds and all(
        a <= b for a, b in zip(old, counts, strict=True)
    )
    same = same and all(before[name] <= now[name] for name in ("refused", "errors"))
    since = [b - a for a, b in zip(old, counts, strict=True)] if same else counts
    return {
        "decisions": since[-1],
        "per_s": since[-1] * 1000 / took_ms,
        "p50_ms": quantile_ms(bounds, since, 0.5),
        "p99_ms": quantile_ms(bounds, since, 0.99),
        "refused": now["refused"] - (before["refused"] if same else 0),
        "errors": now["errors"] - (before["errors"] if same else 0),
    }
