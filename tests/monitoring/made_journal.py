"""Journals for the monitors' tests: decisions and switches, cut into stretches anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from assay.monitoring.grids import make_grids
from assay.records import DAY_MS, Batch, Kind, Stretch, Switch, empty_events

START_MS = 20_000 * DAY_MS
HOUR_MS = 3_600_000
NAMES = ["amount", "kind_of_shop", "age"]


@dataclass
class Row:
    """One decision; its position is ten times its place in the journal."""

    time_ms: int
    features: tuple[float, ...]
    score: float = 0.1
    action: int = 0
    mode: int = 0
    kind: int = int(Kind.authorisation)
    flags: int = 0
    amount_ref: int = 100


class Journal:
    """Switches and decisions in order; entry i stands at position 10 i."""

    def __init__(self) -> None:
        self.entries: list[Row | Switch] = []

    @property
    def end(self) -> int:
        return 10 * len(self.entries)

    def switch(self, model: str, cause: str = "start") -> None:
        arrival = len(self.entries) + 1
        reasons = (("", ""), ("R001", f"{model} says so"))
        self.entries.append(Switch(arrival, arrival * 7, cause, 0, model, "p", "f", "r", reasons))

    def add(self, *rows: Row) -> None:
        self.entries += rows

    def boot(self, place: int) -> int:
        return max((e.arrival for e in self.entries[:place] if isinstance(e, Switch)), default=0)

    def model(self, place: int) -> str:
        boot = self.boot(place)
        entry = self.entries[boot - 1] if boot else None
        return entry.model if isinstance(entry, Switch) else "none"

    def stretch(self, first: int, last: int) -> Stretch:
        """Return entries first to last, the last excluded."""
        places = [i for i in range(first, last) if isinstance(self.entries[i], Row)]
        rows = [row for i in places if isinstance(row := self.entries[i], Row)]
        switches = [e for e in self.entries[first:last] if isinstance(e, Switch)]
        ids = [f"t{i}" for i in places]
        sent = [{"transaction_id": t, "merchant_name": "<b>x</b>"} for t in ids]
        return Stretch(
            10 * last,
            batch_of(rows, places),
            np.array([self.boot(i) for i in places], np.uint64),
            np.array([10 * i for i in places], np.int64),
            ids,
            [msgspec.json.encode(document) for document in sent],
            switches,
        )


def batch_of(rows: list[Row], places: list[int]) -> Batch:
    events = empty_events(len(rows))
    events["arrival"] = np.array(places, np.uint64) + 1
    events["event_time"] = [row.time_ms for row in rows]
    for name in ("kind", "flags", "amount_ref"):
        events[name] = [getattr(row, name) for row in rows]
    return Batch(
        events,
        np.array([row.features for row in rows], np.float32).reshape(len(rows), len(NAMES)),
        np.array([row.score for row in rows], np.float32),
        np.array([row.action for row in rows], np.uint8),
        np.tile(np.array([1, 0, 0, 0], np.uint16), (len(rows), 1)),
        np.array([row.mode for row in rows], np.uint8),
    )


def history(n: int = 20_000, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features and scores that grids are made of."""
    rng = np.random.default_rng(seed)
    features = rng.gamma(2, 100, (n, 3)).astype(np.float32)
    features[:, 1] = rng.integers(0, 4, n)
    features[rng.random(n) < 0.2, 2] = np.nan
    return features, rng.beta(1, 30, n).astype(np.float32)


def grids_document(seed: int = 0) -> dict[str, Any]:
    features, scores = history(seed=seed)
    times = np.linspace(0, 10 * DAY_MS, len(features)).astype(np.int64)
    return make_grids(features, NAMES, scores, times)


def ordinary(n: int, from_ms: int, to_ms: int, seed: int, shift: float = 1.0) -> list[Row]:
    """Return n payments like those of the history; a shift multiplies the first feature."""
    features, scores = history(n, seed)
    features[:, 0] *= np.float32(shift)
    times = np.linspace(from_ms, to_ms, n, endpoint=False).astype(np.int64).tolist()
    return [
        Row(at, tuple(row), score)
        for at, row, score in zip(times, features.tolist(), scores.tolist(), strict=True)
    ]
