"""The columns of the stream's table, and how a stretch of the journal becomes rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.records import EVENT, REASONS_MAX, Events, ResolvedLabel, Stretch, empty_events

STORED: Final = tuple(name for name in EVENT.names or () if not name.startswith("reserved"))
"""Columns of an event that tables keep."""

_TYPES: Final[dict[str, type[pl.DataType]]] = {
    "<u8": pl.UInt64,
    "<i8": pl.Int64,
    "<f4": pl.Float32,
    "<u2": pl.UInt16,
    "<i2": pl.Int16,
    "|u1": pl.UInt8,
}

REASONS: Final = tuple(f"reason_{k}" for k in range(1, REASONS_MAX + 1))

DECISIONS: Final = pl.Schema(
    {name: _TYPES[EVENT[name].str] for name in STORED}
    | {
        "transaction_id": pl.String,
        "score": pl.Float32,
        "action": pl.UInt8,
        "mode": pl.UInt8,
        "boot": pl.UInt64,
    }
    | dict.fromkeys(REASONS, pl.UInt16)
)
"""A decision: its event, the caller's id, and what was answered. NaN is no score."""

LABELS: Final = pl.Schema(
    {
        "report": pl.UInt64,
        "arrival": pl.UInt64,
        "transaction": pl.UInt64,
        "event_time": pl.Int64,
        "fraud": pl.Boolean,
        "reported_ms": pl.Int64,
    }
)
"""A label that was matched: the report's arrival number, its own, and its transaction."""


def decision_rows(stretch: Stretch, fresh: NDArray[np.intp]) -> pl.DataFrame:
    """Return the decisions of a stretch at the given places."""
    batch = stretch.batch
    events = batch.events[fresh]
    columns: dict[str, Any] = {name: events[name] for name in STORED}
    columns["transaction_id"] = [stretch.transaction_ids[i] for i in fresh.tolist()]
    columns["score"] = batch.scores[fresh]
    columns["action"] = batch.actions[fresh]
    columns["mode"] = batch.modes[fresh]
    columns["boot"] = stretch.boots[fresh]
    reasons = batch.reasons[fresh]
    columns |= {name: reasons[:, k] for k, name in enumerate(REASONS)}
    return pl.DataFrame(columns, schema=DECISIONS)


def label_rows(labels: Sequence[ResolvedLabel]) -> pl.DataFrame:
    """Return labels as rows."""
    rows = [
        (
            label.report,
            label.arrival,
            int(label.event["transaction"][0]),
            int(label.event["event_time"][0]),
            label.fraud,
            label.reported_ms,
        )
        for label in labels
    ]
    return pl.DataFrame(rows, schema=LABELS, orient="row")


def events_of(frame: pl.DataFrame) -> Events:
    """Return the events of rows that hold the `STORED` columns."""
    events = empty_events(len(frame))
    for name in STORED:
        events[name] = frame[name].to_numpy()
    return events
