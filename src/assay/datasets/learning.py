"""What a model learns from: everything imported, and what the scorer's stream brought since.

::

    imports up to the stream's base │ stream, in order of arrival, with its flags
                                    │ imports after the base, where their time falls in

The kernel that replays the rows in this order gives each row of the stream the features that the
scorer gave it, bit for bit, as long as nothing was imported since the stream began.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.datasets.stream_columns import STORED, events_of
from assay.datasets.stream_view import StreamView
from assay.datasets.table import History, present_fields
from assay.records import Events

Times = NDArray[np.int64]
Verdicts = NDArray[np.int8]


@dataclass(frozen=True)
class Learning:
    """Rows for training, in the order in which the kernel must see them.

    Attributes
    ----------
    events : ndarray of `EVENT`, shape (n,)
    fraud : ndarray of int8, shape (n,)
        1 is fraud, 0 genuine, -1 unknown: by the latest report about each transaction.
    reported_ms : ndarray of int64, shape (n,)
        When that was, UTC milliseconds; -1 where unknown.
    fields, kinds : frozenset
        Fields and `Kind` codes that features may be made of: those of the imports, or of the
        stream where nothing is imported. So a stray live event does not change the feature set.
    snapshot : str
        Digest of the contents: equal snapshots hold equal rows.
    imports : str
        Snapshot of the imports alone.
    stream : str
        Name of the scorer's stream; ``""`` if nothing of it is in.
    position : int
        Where in its journal the rows end.
    imported_rows, stream_rows, stream_labels : int
        Rows of either origin, and transactions whose label came through the stream.
    """

    events: Events
    fraud: Verdicts
    reported_ms: Times
    fields: frozenset[str]
    kinds: frozenset[int]
    snapshot: str
    imports: str
    stream: str
    position: int
    imported_rows: int
    stream_rows: int
    stream_labels: int


def learn_from(history: History, view: StreamView, base_last_ms: int) -> Learning:
    """Join what was imported with what the stream brought.

    A transaction of the stream that was imported as well, after the base, counts once, as the
    scorer saw it; its imported label counts.

    Parameters
    ----------
    history : History
        Everything imported.
    view : StreamView
        An empty one leaves the history and its snapshot as they are.
    base_last_ms : int
        Largest event time of the imports that the stream began with.

    Raises
    ------
    DatasetError
        If a part of the stream's table is missing or damaged.
    """
    labels = view.labels().select("transaction", pl.col("fraud").cast(pl.Int8), "reported_ms")
    if not view.rows and labels.is_empty():
        return _as_imported(history)
    view.check()
    stream = events_of(view.decisions(STORED))
    events = _merge(history.events, stream, base_last_ms)
    fraud, reported_ms = _labels_of(events, _latest(history, labels))
    return Learning(
        events,
        fraud,
        reported_ms,
        fields=history.fields if len(history.events) else present_fields(stream),
        kinds=_kinds(history.events if len(history.events) else stream),
        snapshot=_digest(history.snapshot, view),
        imports=history.snapshot,
        stream=view.stream,
        position=view.position,
        imported_rows=len(events) - len(stream),
        stream_rows=len(stream),
        stream_labels=len(labels),
    )


def _as_imported(history: History) -> Learning:
    return Learning(
        history.events,
        history.fraud,
        history.reported_ms,
        fields=history.fields,
        kinds=_kinds(history.events),
        snapshot=history.snapshot,
        imports=history.snapshot,
        stream="",
        position=0,
        imported_rows=len(history.events),
        stream_rows=0,
        stream_labels=0,
    )


def _kinds(events: Events) -> frozenset[int]:
    return frozenset(np.unique(events["kind"]).tolist())


def _latest(history: History, labels: pl.DataFrame) -> pl.DataFrame:
    """Return the latest label of each transaction; of two of one time the imported one."""
    known = history.fraud >= 0
    imported = pl.DataFrame(
        {
            "transaction": history.events["transaction"][known],
            "fraud": history.fraud[known],
            "reported_ms": history.reported_ms[known],
        }
    )
    both = pl.concat([labels, imported]).sort("reported_ms", maintain_order=True)
    return both.unique("transaction", keep="last", maintain_order=True)


def _merge(imported: Events, stream: Events, base_last_ms: int) -> Events:
    """Return the imports and the stream as one stream, in which time does not run backwards."""
    sound = np.where(stream["flags"] == 0, stream["event_time"], base_last_ms)
    running = np.maximum.accumulate(np.maximum(sound, base_last_ms))
    base = int(np.searchsorted(imported["event_time"], base_last_ms, side="right"))
    later = imported[base:]
    later = later[~np.isin(later["transaction"], stream["transaction"])]
    places = np.searchsorted(running, later["event_time"], side="left")
    return np.concatenate([imported[:base], np.insert(stream, places, later)])


def _labels_of(events: Events, labels: pl.DataFrame) -> tuple[Verdicts, Times]:
    """Return verdict and time of report of each event, from one label per transaction."""
    rows = pl.DataFrame({"transaction": events["transaction"]})
    rows = rows.join(labels, on="transaction", how="left", maintain_order="left")
    rows = rows.with_columns(pl.col("fraud", "reported_ms").fill_null(-1))
    return rows["fraud"].to_numpy(), rows["reported_ms"].to_numpy()


def _digest(imports: str, view: StreamView) -> str:
    text = f"{imports}\n{view.stream}\n{view.position}"
    return hashlib.sha256(text.encode()).hexdigest()
