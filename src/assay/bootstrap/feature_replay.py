"""Feature replay: the features of a range once more, from the events before it."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.bootstrap.audit_range import Reading, Span
from assay.bootstrap.difference import Differences
from assay.bootstrap.features import make_fold, newest_state, state_snapshots
from assay.bootstrap.progress import Progress
from assay.bootstrap.scorer import read_history
from assay.clock import Clock
from assay.errors import JournalError
from assay.features.definitions import FeatureSet
from assay.features.fold import Fold
from assay.features.snapshots import Mark
from assay.journal.boot_record import BootRecord
from assay.journal.log import OFFSET_BITS
from assay.journal.recovery import scan_events
from assay.journal.stretch import decode_stretches
from assay.records import Stretch
from assay.workspace import Workspace

_CHUNK_ROWS = 65_536


class FeatureReplay:
    """Folds a stream up to a range and through it, and compares the vectors bit by bit.

    Parameters
    ----------
    workspace : Workspace
    features : FeatureSet
    boots : collection of int
        Arrivals of the boot records under which these features decided.
    stream : str
    clock : Clock
    """

    def __init__(
        self,
        workspace: Workspace,
        features: FeatureSet,
        boots: Collection[int],
        stream: str,
        clock: Clock,
    ) -> None:
        self._workspace, self._features, self._clock = workspace, features, clock
        self._boots = np.array(sorted(boots), np.uint64)
        self._stream = stream
        self._found = Differences(stream)
        self._compared = self._folded = 0

    def run(self, span: Span, position: int, progress: Progress) -> dict[str, Any]:
        """Compare the range that begins at a position.

        Returns
        -------
        dict
            ``feature_set``, ``compared``, ``folded`` (events that were folded for it), ``from``
            (arrival of the snapshot used, 1 for the beginning), and what differs.

        Raises
        ------
        JournalError
            If the journal has a hole before or within the range, or lacks its beginning.
        """
        fold, mark = self._begin(position, progress)
        reading = Reading(self._workspace.journal, mark.position if mark else 0)
        for records, position_after in reading.chunks(_CHUNK_ROWS):
            if reading.gaps:
                raise JournalError(f"the features after it rest on it: {reading.gaps[0].why}")
            begin, end = span.cut(records)
            for part in scan_events(records[:begin]):
                fold(part.events)
                self._folded += len(part.events)
            for stretch in decode_stretches(records[begin:end], position_after):
                self._folded += len(stretch.batch)
                self._compare(stretch, fold(stretch.batch.events))
            progress("fold the journal", self._folded, 0)
            if end < len(records):
                break
        return {
            "feature_set": self._features.digest[:16],
            "compared": self._compared,
            "folded": self._folded,
            "from": mark.next_arrival if mark else 1,
            **self._found.document(),
        }

    def _begin(self, position: int, progress: Progress) -> tuple[Fold, Mark | None]:
        """Return the state of a snapshot before the position, else of the history alone."""
        workspace = self._workspace
        snapshots = state_snapshots(workspace, self._clock)
        found = newest_state(workspace, self._features, snapshots, position)
        if found is not None:
            return found
        fold = make_fold(workspace, self._features)
        history = read_history(workspace, self._base())
        fold.absorb(history.events, partial(progress, "fold the history"))
        return fold, None

    def _base(self) -> str:
        """Return the snapshot of the history that the stream began with."""
        records, _ = next(Reading(self._workspace.journal).chunks(1))
        boot = BootRecord.decode(records[0][1])
        if boot.cause != "start" or records[0][0] >> OFFSET_BITS != 1:
            raise JournalError(
                "the journal's beginning was removed and no snapshot of the state is as old as "
                "the range; accepted: a range after the oldest snapshot"
            )
        return boot.dataset

    def _compare(self, stretch: Stretch, again: NDArray[np.float32]) -> None:
        rows = np.isin(stretch.boots, self._boots)
        told, again = stretch.batch.features[rows], again[rows]
        self._compared += len(told)
        wrong = told.view(np.uint32) != again.view(np.uint32)
        names = self._features.names
        columns = np.flatnonzero(wrong.any(axis=0)).tolist()
        if not columns:
            return
        column_of = {names[column]: column for column in columns}
        self._found.add(
            stretch.batch.events["arrival"][rows],
            {name: wrong[:, column] for name, column in column_of.items()},
            lambda name, row: (
                str(told[row, column_of[name]]),
                str(again[row, column_of[name]]),
            ),
        )
