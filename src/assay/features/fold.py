"""Runs a stream of events through a feature set's kernel: online, in recovery, in replay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from assay.features.definitions import FeatureSet
from assay.features.kernel import load_kernel
from assay.features.pieces import Pieces, range_sums, state_digest
from assay.features.plan import make_plan
from assay.features.state import State
from assay.records import Events

_CHUNK_ROWS = 65_536


class Fold:
    """The state of one stream and the kernel that advances it.

    Events must come in arrival order, with their flags set; batch edges change nothing.
    Not safe for use from two threads at once.

    Parameters
    ----------
    feature_set : FeatureSet
    lateness_ms : int
        How far behind shard time an event may be and still enter its windows.
    entities_max, events_max : int
        Bounds of the state, for each kind of entity.
    """

    def __init__(
        self,
        feature_set: FeatureSet,
        *,
        lateness_ms: int,
        entities_max: int = 2_000_000,
        events_max: int = 64_000_000,
    ) -> None:
        plan = make_plan(feature_set)
        self.feature_set = feature_set
        self.state = State(
            plan, lateness_ms=lateness_ms, entities_max=entities_max, events_max=events_max
        )
        self._pieces = Pieces(self.state)
        self._run, self._reindex = load_kernel(plan)

    @property
    def bounds(self) -> dict[str, int]:
        """What it was made with: ``lateness_ms``, ``entities_max``, ``events_max``."""
        return {
            "lateness_ms": self.state.lateness_ms,
            "entities_max": self.state.entities_max,
            "events_max": self.state.events_max,
        }

    @property
    def shard_time_ms(self) -> int:
        """Largest event time folded so far, UTC milliseconds."""
        return self.state.shard_time_ms

    @property
    def refused(self) -> tuple[int, int]:
        """Entities and events that were not kept because a bound was reached."""
        return self.state.refused

    def digest(self) -> str:
        """Return the state hash: equal for folds that took the same events, in hex."""
        sums = {name: range_sums(entity) for name, entity in self.state.entities.items()}
        return state_digest(self.state, sums)

    def check(self, piece: int) -> int:
        """Return a 64-bit hash of one piece of the state, of at most 512 KiB.

        Numbers that count on go round all of the state; folds that took the same events have
        the same pieces.
        """
        return self._pieces.digest(piece)

    def reindex(self, entity: str) -> None:
        """Make the key index of an entity whose records were put in place."""
        found = self.state.entities[entity]
        slots = found.layout.slots_per_shard
        self._reindex(found.index, found.heads["key"], found.pool, slots)

    def __call__(self, events: Events) -> NDArray[np.float32]:
        """Fold events in and return the features each one had on its arrival.

        Returns
        -------
        ndarray of float32, shape (n, f)
            NaN is unknown.
        """
        out = np.empty((len(events), len(self.feature_set.features)), np.float32)
        self._run(events, out, *self.state.arguments())
        return out

    def absorb(self, events: Events, progress: Callable[[int, int], None] | None = None) -> None:
        """Fold a long stream for its state alone, reporting (done, total) on the way."""
        for start in range(0, len(events), _CHUNK_ROWS):
            self(events[start : start + _CHUNK_ROWS])
            if progress is not None:
                progress(min(start + _CHUNK_ROWS, len(events)), len(events))

    def replay(
        self,
        events: Events,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Fold a long stream and return all features, shape (n, f)."""
        out = np.empty((len(events), len(self.feature_set.features)), np.float32)
        for start in range(0, len(events), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            self._run(events[part], out[part], *self.state.arguments())
            if progress is not None:
                progress(min(start + _CHUNK_ROWS, len(events)), len(events))
        return out
