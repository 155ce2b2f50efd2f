"""Counts what the engine has done since it started."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.records import Action, Batch, Flag, LabelReport, Mode
from assay.serving.work import Labels


@dataclass(slots=True)
class Counters:
    """What the engine has done since it started."""

    decisions: int = 0
    batches: int = 0
    commits: int = 0
    repeats: int = 0
    conflicts: int = 0
    refused: int = 0
    late: int = 0
    future: int = 0
    label_reports: int = 0
    labels: int = 0
    switches: int = 0
    checks: int = 0
    actions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))
    modes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))

    def count_batch(self, batch: Batch) -> None:
        """Count a batch that is on the disk."""
        self.batches += 1
        self.decisions += len(batch)
        flags = batch.events["flags"]
        self.late += int((flags == Flag.late).sum())
        self.future += int((flags == Flag.future).sum())
        self.actions += np.bincount(batch.actions, minlength=4)
        self.modes += np.bincount(batch.modes, minlength=4)

    def count_labels(self, labels: Labels) -> None:
        """Count labels that are on the disk."""
        if labels.rows and isinstance(labels.rows[0], LabelReport):
            self.label_reports += len(labels.rows)
        else:
            self.labels += len(labels.rows)

    def document(self) -> dict[str, Any]:
        """Return everything as builtins."""
        return {
            **{name: n for name, n in asdict(self).items() if isinstance(n, int)},
            "actions": {action.name: int(self.actions[action]) for action in Action},
            "modes": {mode.name: int(self.modes[mode]) for mode in Mode},
        }
