"""Finds the transactions that reports are about, in the files of the tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from assay.records import EVENT, Events, empty_events

_NAMES: Final = tuple(name for name in EVENT.names or () if not name.startswith("reserved"))
_LABEL: Final = ("fraud", "reported_ms")


@dataclass(frozen=True, slots=True)
class Found:
    """A transaction in a table.

    Attributes
    ----------
    event : ndarray of `EVENT`, shape (1,)
    label : (int, bool) or None
        Time of report and verdict that it was imported with.
    """

    event: Events
    label: tuple[int, bool] | None


class Resolver:
    """Looks transactions up by their hash.

    A look-up reads one column of every file, and the rest of a file's rows only where it hit.

    Parameters
    ----------
    parts : callable
        Lists the Parquet files of all transactions: imported ones first, then the stream's.
        Files are never changed under a name. Each has the columns of `EVENT` that are stored and
        ``transaction_id``; ``fraud`` (-1 unknown) and ``reported_ms`` where there are labels.
    """

    def __init__(self, parts: Callable[[], Sequence[Path]]) -> None:
        self._parts = parts
        self._seen: set[Path] = set()

    def arrived(self, hashes: Collection[int]) -> set[int]:
        """Return those of the hashes that stand in files that came since the last call."""
        parts = set(self._parts())
        new = parts - self._seen
        self._seen = parts
        if not new or not hashes:
            return set()
        wanted = pl.Series([*hashes], dtype=pl.UInt64)
        rows = pl.col("transaction").is_in(wanted.implode())
        return {
            key
            for part in new
            for key in _scan(part).select("transaction").filter(rows).collect()["transaction"]
        }

    def find(self, hashes: Collection[int]) -> dict[str, Found]:
        """Return the transactions with these hashes, by their id.

        Two ids may share a hash, so that there can be more of them than hashes. Where an id
        stands more than once, the newest file wins.
        """
        wanted = pl.Series([*hashes], dtype=pl.UInt64)
        rows = pl.col("transaction").is_in(wanted.implode())
        out: dict[str, Found] = {}
        for part in self._parts() if hashes else ():
            out |= _found(_scan(part).filter(rows).collect())
        return out


def _scan(part: Path) -> pl.LazyFrame:
    return pl.scan_parquet(part, glob=False)


def _found(frame: pl.DataFrame) -> dict[str, Found]:
    events = empty_events(len(frame))
    for name in _NAMES:
        if name in frame.columns:
            events[name] = frame[name].to_numpy()
    imported = events["arrival"] == 0
    events["arrival_ms"][imported] = events["event_time"][imported]
    labels: list[tuple[int, bool] | None] = [None] * len(frame)
    if set(_LABEL) <= set(frame.columns):
        labels = [
            None if fraud is None or fraud < 0 else (at, bool(fraud))
            for fraud, at in frame.select(_LABEL).iter_rows()
        ]
    ids = frame["transaction_id"].to_list()
    return {
        name: Found(events[i : i + 1], label)
        for i, (name, label) in enumerate(zip(ids, labels, strict=True))
    }
