"""Where a worker's feature state comes from: snapshots, the journal, the history before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from assay.bootstrap.features import make_fold, newest_state, state_bounds, state_snapshots
from assay.bootstrap.scorer import read_history, runtime_digest
from assay.bootstrap.versions import feature_set
from assay.clock import Clock
from assay.errors import JournalError
from assay.features.snapshots import Mark
from assay.journal.boot_record import BootRecord
from assay.journal.entries import EntryHead, EntryKind, first_arrival
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.log import OFFSET_BITS
from assay.journal.reader import read_journal
from assay.journal.segment import SEGMENT_HEAD_BYTES
from assay.worker.kept_state import KeptState
from assay.workspace import Workspace

if TYPE_CHECKING:
    from assay.features.definitions import FeatureSet

_CHUNK_ROWS: Final = 65_536

Start = tuple[int, BootRecord]
"""Arrival and versions of a start of the scorer."""


class WorkspaceStates:
    """The feature states of one workspace, for the features that its scorer computes.

    Parameters
    ----------
    workspace : Workspace
    clock : Clock
        Dates snapshots.
    """

    def __init__(self, workspace: Workspace, clock: Clock) -> None:
        self._workspace = workspace
        self._folder = Folder(workspace.journal)
        self._snapshots = state_snapshots(workspace, clock)
        self._begun: tuple[FeatureSet, dict[str, Any]] | None = None
        self._newest: tuple[int, Start | None] = 0, None

    def started(self) -> int:
        """Return the arrival of the scorer's newest start; 0 before the first."""
        start = self._start()
        return 0 if start is None else start[0]

    def begin(self, behind: int, stopped: Callable[[], bool]) -> KeptState | None:
        """Return the newest state that can be had, as `worker.ports.States` says.

        Raises
        ------
        AssayError
            If the features are not known, or neither a snapshot nor the history will do.
        """
        start = self._start()
        assert start is not None, "a state begins behind a start"
        arrival, boot = start
        # As it is now: the scorer may have started with other settings than this worker.
        workspace = Workspace.open(self._workspace.path)
        features = feature_set(workspace, boot.feature_set)
        stream = Follower(workspace.journal).stream
        self._begun = features, state_bounds(workspace) | {"stream": stream}
        restored = newest_state(workspace, features, self._snapshots, from_position=behind)
        if restored is not None:
            fold, mark = restored
        elif behind:
            raise JournalError(
                "a part of the journal cannot be read, and no snapshot of the feature state lies "
                "behind it; restore the segment from a copy, then start the worker again"
            )
        else:
            fold = make_fold(workspace, features)
            begun = self._absorb(workspace, fold, boot.dataset, stopped)
            if begun is None:
                return None
            mark = begun
        return KeptState(
            fold,
            features.names,
            mark.stream,
            mark.base,
            mark.position,
            mark.next_arrival,
            mark.arrival_ms,
            mark.rows,
            arrival,
            (boot.feature_set, boot.runtime),
            mark.checks_from,
            comparable=runtime_digest(workspace) == boot.runtime,
        )

    def keep(self, state: KeptState) -> dict[str, Any]:
        """Write a snapshot and drop all but the newest two.

        Raises
        ------
        AssayError
            If the disk has no room, or fails.
        """
        mark = Mark(
            state.stream,
            state.position,
            state.next_arrival,
            state.arrival_ms,
            state.rows,
            state.base,
            state.checks_from,
        )
        snapshot = self._snapshots.write(state.fold, mark)  # type: ignore[arg-type]
        self._snapshots.prune(2)
        return {"position": mark.position, "bytes": snapshot.bytes}

    def floor(self) -> int:
        """Return from where the older of the two newest snapshots needs the journal; 0: all."""
        if self._begun is None:
            return 0
        features, bounds = self._begun
        found = [s.mark.position for s in self._snapshots.usable(features, **bounds)]
        return found[1] if len(found) > 1 else 0

    def _absorb(
        self,
        workspace: Workspace,
        fold: Callable[[Any], object],
        base: str,
        stopped: Callable[[], bool],
    ) -> Mark | None:
        """Fold the history before the stream, the journal still to come; None if told to stop."""
        _, first = next(iter(read_journal(workspace.journal)))
        events = read_history(workspace, base).events
        if (found := first_arrival(first)) != len(events) + 1:
            raise JournalError(
                f"the journal begins at arrival {found}, and no snapshot of the feature "
                "state fits; accepted: a snapshot, from a copy or from assay features backfill"
            )
        for at in range(0, len(events), _CHUNK_ROWS):
            if stopped():
                return None
            fold(events[at : at + _CHUNK_ROWS])
        stream = Follower(workspace.journal).stream
        return Mark(stream, 0, len(events) + 1, 0, 0, base)

    def _start(self) -> Start | None:
        """Return the newest start: every start begins a segment with its boot record."""
        if not self._folder.path.is_dir():
            return None
        known, start = self._newest
        numbers = self._folder.numbers()
        for number in reversed([n for n in numbers if n > known]):
            if (found := self._first(number)) is not None:
                start = found
                break
        # The last segment may have been looked at before its first record was there.
        self._newest = (numbers[-1] - 1 if numbers else 0), start
        return start

    def _first(self, number: int) -> Start | None:
        position = number << OFFSET_BITS | SEGMENT_HEAD_BYTES
        try:
            records = Follower(self._folder.path, position).read(1)
        except JournalError:  # it is damaged; the keeper will meet it
            return None
        if not records or records[0][0] >> OFFSET_BITS != number:
            return None
        head = EntryHead.decode(records[0][1])
        if head.kind != EntryKind.boot:
            return None
        boot = BootRecord.decode(records[0][1])
        return (head.arrival, boot) if boot.cause == "start" else None
