"""What is going on now: the figures that the worker wrote, as one document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, func, select

from assay.control.schema import ALERTS, FINDINGS, KPI, LABELS, LATENCY, PROGRESS
from assay.errors import AssayError
from assay.monitoring.buckets import POINTS_MAX, width_ms
from assay.monitoring.processes import written_live

_HOUR_MS: Final = 3_600_000

FINDINGS_MAX: Final = 20
ALERTS_MAX: Final = 50

TOTALS: Final = (
    "payments",
    "approve",
    "challenge",
    "review",
    "decline",
    "degraded",
    "late",
    "future",
    "approved_ref",
    "stopped_ref",
)
_SERIES: Final = (*TOTALS[:5], "approved_ref", "stopped_ref")
_STATES: Final = ("matched", "waiting", "duplicate", "conflict")

Ints = NDArray[np.int64]


def empty_live(currency: str, count: int | None = 0) -> dict[str, Any]:
    """Return the document of a system that decided nothing; with None for counts, of any system."""
    series = ("bucket_ms", *_SERIES[:5], "mean_score", *_SERIES[5:], "fraud_rate")
    return {
        "stream_ms": None,
        "updated_ms": None,
        "currency": currency,
        "scorer": None,
        "worker": None,
        "journal": None,
        "window_ms": None,
        "totals": dict.fromkeys((*TOTALS, "reported_fraud"), count),
        "series": {name: [] for name in series},
        "latency": {name: [] for name in ("at_ms", "p50_ms", "p99_ms", "per_s")},
        "recent": [],
        "alerts": [],
        "findings": [],
        "labels": label_states(count),
        "error": None,
    }


def live_document(
    connection: Connection,
    currency: str,
    hours: int,
    bucket_ms: int,
    frauds_of: Callable[[int, int], Ints],
) -> dict[str, Any]:
    """Return volume, money, latency, findings and alerts of the last hours.

    Parameters
    ----------
    connection : Connection
    currency : str
        Reference currency, of the amounts.
    hours : int
        Of stream time for what was decided, of wall time for latency, there at most 24.
    bucket_ms : int
        Width of the bars that volumes are counted in.
    frauds_of : callable
        Event times of the payments of [from, to) that are labelled as fraud; where it raises an
        `AssayError`, what depends on them is None and ``error`` says why.
    """
    out = empty_live(currency)
    out["labels"] |= label_counts(connection)
    out["latency"] = _latency(connection, min(hours, 24) * _HOUR_MS)
    out["findings"], out["alerts"] = _findings(connection), _alerts(connection)
    if (recent := written_live(connection).get("recent")) is not None:
        out["recent"] = recent.document.get("decisions", [])
    progress = connection.execute(select(PROGRESS).where(PROGRESS.c.reader == "monitor")).first()
    if progress is not None:
        out["updated_ms"] = progress.updated_ms
        out["stream_ms"] = progress.stream_ms or None
    if out["stream_ms"]:
        from_ms, to_ms = out["stream_ms"] - hours * _HOUR_MS, out["stream_ms"] + 1
        out["window_ms"] = [from_ms, to_ms]
        try:
            frauds_ms = frauds_of(from_ms, to_ms)
        except AssayError as problem:
            frauds_ms, out["error"] = None, str(problem)
        out |= _volumes(connection, from_ms, to_ms, bucket_ms, frauds_ms)
    return out


def label_states(count: int | None) -> dict[str, int | None]:
    """Return the same count for every state of a report; None: nobody knows."""
    return dict.fromkeys(_STATES, count)


def label_counts(connection: Connection) -> dict[str, int]:
    """Return how many reports are in each state."""
    rows = connection.execute(select(LABELS.c.state, func.count()).group_by(LABELS.c.state))
    return {**dict.fromkeys(_STATES, 0), **{str(state): int(n) for state, n in rows}}


def _volumes(
    connection: Connection, from_ms: int, to_ms: int, bucket_ms: int, frauds_ms: Ints | None
) -> dict[str, Any]:
    """Return ``totals`` and ``series``; buckets without a payment are there, with zeros."""
    width = width_ms(from_ms, to_ms, bucket_ms)
    bucket = _floor(KPI.c.bucket_ms, width)
    sums = [func.sum(KPI.c[name]).label(name) for name in (*TOTALS, "score_sum")]
    inside = (KPI.c.bucket_ms >= from_ms - from_ms % bucket_ms) & (KPI.c.bucket_ms < to_ms)
    query = select(bucket.label("bucket_ms"), *sums).where(inside).group_by(bucket).order_by(bucket)
    rows = connection.execute(query).mappings().all()
    totals = {name: sum(int(row[name]) for row in rows) for name in TOTALS}
    known = None if frauds_ms is None else len(frauds_ms)
    out = {"totals": totals | {"reported_fraud": known}}
    if not rows:
        return out
    times = list(range(rows[0]["bucket_ms"], to_ms, width))
    place = {row["bucket_ms"]: row for row in rows}
    series: dict[str, list[Any]] = {"bucket_ms": times}
    for name in _SERIES:
        series[name] = [int(place[at][name]) if at in place else 0 for at in times]
    series["mean_score"] = [_mean_score(place.get(at)) for at in times]
    series["fraud_rate"] = _fraud_rate(times, series["payments"], frauds_ms, width)
    return out | {"series": series}


def _fraud_rate(
    times: list[int], payments: list[int], frauds_ms: Ints | None, width: int
) -> list[float | None]:
    """Return the share of fraud by bucket; None without a payment, and where nobody knows."""
    if frauds_ms is None:
        return [None] * len(times)
    frauds = dict(zip(*np.unique(frauds_ms // width * width, return_counts=True), strict=True))
    return [
        min(1.0, int(frauds.get(at, 0)) / n) if n else None
        for at, n in zip(times, payments, strict=True)
    ]


def _mean_score(row: Any) -> float | None:
    """Return the mean over what a full model scored."""
    scored = 0 if row is None else row["payments"] - row["degraded"]
    return row["score_sum"] / scored if scored > 0 else None


def _latency(connection: Connection, span_ms: int) -> dict[str, list[Any]]:
    """Return at most 120 points; a merged one has the worst p99 and the weighted mean p50."""
    newest = connection.execute(select(func.max(LATENCY.c.at_ms))).scalar()
    if newest is None:
        return {name: [] for name in ("at_ms", "p50_ms", "p99_ms", "per_s")}
    oldest = connection.execute(
        select(func.min(LATENCY.c.at_ms)).where(LATENCY.c.at_ms > newest - span_ms)
    ).scalar_one()
    at = _floor(LATENCY.c.at_ms, width_ms(oldest, newest + 1))
    weighted = func.sum(LATENCY.c.p50_ms * LATENCY.c.decisions)
    p50 = weighted / func.nullif(func.sum(LATENCY.c.decisions), 0)
    query = (
        select(at, p50, func.max(LATENCY.c.p99_ms), func.avg(LATENCY.c.per_s))
        .where(LATENCY.c.at_ms >= oldest)
        .group_by(at)
        .order_by(at)
    )
    rows = connection.execute(query).all()[-POINTS_MAX:]
    columns = [list(column) for column in zip(*rows, strict=True)]
    return dict(zip(("at_ms", "p50_ms", "p99_ms", "per_s"), columns, strict=True))


def _floor(column: ColumnElement[int], width: int) -> ColumnElement[int]:
    return column - column % width


def _findings(connection: Connection) -> list[dict[str, Any]]:
    """Return the findings nearest to, or farthest above, their threshold."""
    names = ("monitor", "subject", "model", "value", "threshold", "rows")
    query = select(*(FINDINGS.c[name] for name in names)).order_by(
        (FINDINGS.c.value / FINDINGS.c.threshold).desc(), FINDINGS.c.id
    )
    rows = connection.execute(query.limit(FINDINGS_MAX)).mappings()
    return [dict(row) for row in rows]


def _alerts(connection: Connection) -> list[dict[str, Any]]:
    """Return alerts, the open ones first, each group by newest."""
    query = select(ALERTS).order_by(
        ALERTS.c.closed_ms.is_not(None), ALERTS.c.opened_ms.desc(), ALERTS.c.id.desc()
    )
    return [dict(row) for row in connection.execute(query.limit(ALERTS_MAX)).mappings()]
