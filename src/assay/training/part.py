"""One part of a time split: its rows and the labels that count for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Part:
    """Rows of one span of time, with the labels known at one moment.

    Attributes
    ----------
    name : str
        ``train``, ``calibration`` or ``test``.
    start_ms, end_ms : int
        UTC milliseconds; rows have an event time in [start, end).
    known_ms : int or None
        Labels reported up to and including this moment count; None counts every label.
    rows : ndarray of int64, shape (n_part,)
        Indices into the whole table, by event time.
    fraud : ndarray of bool, shape (n_part,)
        True where a fraud report counts; everything else is taken as genuine.
    """

    name: str
    start_ms: int
    end_ms: int
    known_ms: int | None
    rows: NDArray[np.int64]
    fraud: NDArray[np.bool_]

    @property
    def frauds(self) -> int:
        """Number of rows that count as fraud."""
        return int(self.fraud.sum())

    def facts(self) -> dict[str, Any]:
        """Return what the manifest keeps: moments and counts, no rows."""
        return {
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "labels_known_ms": self.known_ms,
            "rows": len(self.rows),
            "frauds": self.frauds,
        }

    def __str__(self) -> str:
        return (
            f"{self.name:<12} {_date(self.start_ms)} to {_date(self.end_ms)}"
            f"  {len(self.rows):>11,} rows  {self.frauds:>8,} frauds"
        )


def _date(time_ms: int) -> str:
    return str(np.datetime64(time_ms, "ms").astype("datetime64[m]")).replace("T", " ")
