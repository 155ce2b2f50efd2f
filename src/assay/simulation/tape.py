"""What is still to be played of a world: transactions by event time, labels by report."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Lock
from typing import Final

import msgspec
import polars as pl

from assay.records import SCORED_KINDS, Kind, Label
from assay.simulation.world_data import WorldData

_AHEAD_ROWS: Final = 512
_SCORED: Final = [Kind(kind).name for kind in SCORED_KINDS]


@dataclass(frozen=True, slots=True)
class Cue:
    """One transaction to send: when it happens, its body, and whether it is fraud in truth."""

    event_ms: int
    body: bytes
    fraud: bool


class Tape:
    """Hands out what happens in a world, from a row on, in order; safe between threads.

    Parameters
    ----------
    data : WorldData
    first_row : int
        Of the transactions; those before it are history.

    Attributes
    ----------
    world_ms : int
        Event time of the last transaction handed out; before the first, of the first.
    """

    def __init__(self, data: WorldData, first_row: int) -> None:
        self._lock, self._data, self._row = Lock(), data, first_row
        self._ahead: deque[Cue] = deque()
        self._hold_ms: int | None = None
        times = data.transactions["event_time"]
        self.world_ms: int = times[min(first_row, len(times) - 1)]
        self._told_ms: int = self.world_ms - 1

    @property
    def ended(self) -> bool:
        """Whether nothing is left to be handed out."""
        return self._row >= self._data.transactions.height

    def peek(self) -> Cue | None:
        """Return the next transaction; None at the end, or while the tape is held."""
        with self._lock:
            return self._peek()

    def take(self) -> Cue | None:
        """Return the next transaction and move on; None as for `peek`."""
        with self._lock:
            if (cue := self._peek()) is not None:
                self._ahead.popleft()
                self._row += 1
                self.world_ms = cue.event_ms
            return cue

    def labels(self, rows_max: int = 500) -> list[Label]:
        """Return the reports, each once, that came until `world_ms`, the oldest first."""
        with self._lock:
            told = self._data.labels
            low = told["reported_ms"].search_sorted(self._told_ms, "right")
            high = told["reported_ms"].search_sorted(self.world_ms, "right")
            rows = told[low : min(high, low + rows_max)]
            if rows.is_empty():
                self._told_ms = self.world_ms
                return []
            # Reports of the same millisecond come together, or the rest of them would be lost.
            self._told_ms = rows["reported_ms"][-1]
            rows = told[low : told["reported_ms"].search_sorted(self._told_ms, "right")]
            return [Label(*row) for row in rows.iter_rows()]

    def hold(self, margin_ms: int = 0) -> int:
        """Hand out nothing that happens later than `margin_ms` from here; return that moment."""
        with self._lock:
            self._hold_ms = self.world_ms + margin_ms + 1
            return self._hold_ms

    def go_on(self, data: WorldData | None = None) -> None:
        """Let go, with another world that is the same until the moment of the hold."""
        with self._lock:
            self._hold_ms = None
            if data is not None:
                self._data = data
                self._ahead.clear()

    def _peek(self) -> Cue | None:
        if not self._ahead:
            self._ahead.extend(self._encode(self._row, self._row + _AHEAD_ROWS))
        if not self._ahead:
            return None
        cue = self._ahead[0]
        return None if self._hold_ms is not None and cue.event_ms >= self._hold_ms else cue

    def _encode(self, start: int, end: int) -> list[Cue]:
        rows = without_outcomes(self._data.transactions[start:end])
        frauds = self._data.truth["fraud"][start:end]
        bodies = (encode(row) for row in rows.iter_rows(named=True))
        return [Cue(*cue) for cue in zip(rows["event_time"], bodies, frauds, strict=True)]


def without_outcomes(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows without what is not yet known when they are sent: the issuer's answer."""
    asked = pl.col("kind").is_in(_SCORED)
    return rows.with_columns(pl.when(~asked).then("response_code").alias("response_code"))


def encode(row: dict[str, object]) -> bytes:
    """Return a row as a client would send it: JSON, without unknown fields."""
    return msgspec.json.encode({k: v for k, v in row.items() if v is not None})
