"""A feature state and where in the journal it stands: folded, compared, nothing skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.records import Check
from assay.worker.ports import Fold, Folded


@dataclass(slots=True)
class KeptState:
    """The state that all records before a position leave behind, and what it was compared with.

    Only what the scorer wrote since its newest start is compared: what ran before may have been
    other code or other settings.

    Attributes
    ----------
    fold : Fold
    names : tuple of str
        The features, in order.
    stream, base : str
        Whose events, and the history that came before them.
    position, next_arrival, arrival_ms : int
        Everything before the position is folded, and nothing else; see `Folded`.
    rows : int
        Events folded since the stream began.
    started : int
        Arrival of the newest start known.
    versions : tuple of (str, str)
        Feature set and runtime of that start.
    checks_from : int
        Pieces are compared if that start has this arrival or a later one. A state that was not
        folded from the history and the whole journal has its entities in other places than a
        scorer that was; only one that went on from such a state, or from a later one, has the same.
    comparable : bool
        Whether that start runs the same code and settings: only then are equal bits promised.
    checked_rows, checks : int
        How much was compared so far.
    """

    fold: Fold
    names: tuple[str, ...]
    stream: str
    base: str
    position: int
    next_arrival: int
    arrival_ms: int
    rows: int
    started: int
    versions: tuple[str, str]
    checks_from: int = 0
    comparable: bool = True
    checked_rows: int = 0
    checks: int = 0

    def take(self, part: Folded) -> dict[str, Any] | None:
        """Fold a part in; return the first difference from what the scorer wrote, if any."""
        found = self._rows(part) if len(part.events) else None
        self.position, self.next_arrival = part.position, part.next_arrival
        self.arrival_ms = max(self.arrival_ms, part.arrival_ms)
        check = part.check
        if found is None and check is not None and self._compares(check.arrival):
            found = self._check(check) if self.compares_checks else None
        return found

    @property
    def compares_checks(self) -> bool:
        """Tell whether the scorer's entities lie where this state's do."""
        return self.started >= self.checks_from

    def _compares(self, arrival: int) -> bool:
        return self.comparable and arrival >= self.started

    def _rows(self, part: Folded) -> dict[str, Any] | None:
        recomputed = self.fold(part.events)
        self.rows += len(recomputed)
        if not self._compares(int(part.boots[0])):
            return None
        self.checked_rows += len(recomputed)
        if part.features.shape != recomputed.shape:
            return _difference(part, 0, "features", part.features.shape[1], recomputed.shape[1])
        unequal = part.features.view(np.uint32) != recomputed.view(np.uint32)
        if not unequal.any():
            return None
        row = int(unequal.any(axis=1).argmax())
        at = int(unequal[row].argmax())
        return _difference(
            part, row, self.names[at], _value(part.features[row, at]), _value(recomputed[row, at])
        )

    def _check(self, check: Check) -> dict[str, Any] | None:
        self.checks += 1
        recomputed = self.fold.check(check.piece)
        if recomputed == check.digest:
            return None
        return {
            "arrival": check.arrival,
            "arrival_ms": check.arrival_ms,
            "feature": None,
            "piece": check.piece,
            "journalled": f"{check.digest:016x}",
            "recomputed": f"{recomputed:016x}",
        }


def _difference(
    part: Folded, row: int, feature: str, journalled: object, recomputed: object
) -> dict[str, Any]:
    event = part.events[row]
    return {
        "arrival": int(event["arrival"]),
        "arrival_ms": int(event["arrival_ms"]),
        "feature": feature,
        "piece": None,
        "journalled": journalled,
        "recomputed": recomputed,
    }


def _value(value: np.float32) -> str:
    """Return a feature as text: its shortest digits, and its bits, in which alone it may differ."""
    return f"{value!s} ({int(value.view(np.uint32)):08x})"
