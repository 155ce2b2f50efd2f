"""Folds history and journal for a new feature set, so that its first start is quick."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any, Final

from assay.bootstrap.features import make_fold, newest_state, state_snapshots, workspace_features
from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.rollout import Requests, first_scoring
from assay.bootstrap.scorer import read_history
from assay.bootstrap.scoring import load_scoring
from assay.clock import Clock
from assay.errors import BundleError, JournalError
from assay.features.definitions import FeatureSet
from assay.features.fold import Fold
from assay.features.snapshots import Mark
from assay.journal.boot_record import BootRecord
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.follower import Follower
from assay.journal.recovery import scan_events
from assay.workspace import Workspace

_NO_START: Final = 1 << 62
"""No scorer has started from this state yet."""


def backfill(
    workspace: Workspace,
    progress: Progress = quiet,
    model: str | None = None,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Leave a snapshot of the feature state for the features that the next start will use.

    The journal is read without its lock, and the snapshot is a folder of its own, so a scorer
    and a worker may go on beside this. What is there already for the same features is gone on
    from.

    Parameters
    ----------
    workspace : Workspace
    progress : callable
    model : str, optional
        The features of this model; by default those of the model that a start would take, and of
        ``features.py`` where there is none that fits it.
    clock : Clock, optional
        Dates the snapshot.

    Returns
    -------
    dict
        ``feature_set``, ``features_of``, ``folded`` (events of this run), ``from_position``,
        ``position``, ``snapshot`` (its name, None if the newest one holds all that already),
        ``bytes``, ``state`` (its hash) and ``took_s``.

    Raises
    ------
    AssayError
        If the journal is empty or damaged, or the features are wrong.
    """
    started = time.monotonic()
    features, source = _wanted(workspace, model)
    stream = Follower(workspace.journal).stream
    if not stream:
        raise JournalError(
            f"{workspace.journal} is empty; accepted: a journal, its first start folds the history"
        )
    snapshots = state_snapshots(workspace, clock)
    fold, begun, past = _beginning(workspace, features, stream, progress)
    mark = _follow(workspace, fold, begun, progress)
    if begun.checks_from == _NO_START:
        # What starts from now on goes on from here; what runs has its entities in other places.
        mark = replace(mark, checks_from=mark.next_arrival)
    snapshot = None
    if mark != begun or not begun.position:
        snapshot = snapshots.write(fold, mark)
        snapshots.prune()
    return {
        "feature_set": features.digest[:16],
        "features_of": source,
        "folded": past + mark.rows - begun.rows,
        "from_position": begun.position,
        "position": mark.position,
        "snapshot": snapshot and snapshot.path.name,
        "bytes": snapshot.bytes if snapshot else 0,
        "state": fold.digest(),
        "took_s": round(time.monotonic() - started, 3),
    }


def _wanted(workspace: Workspace, model: str | None) -> tuple[FeatureSet, str]:
    if model is not None:
        found = load_scoring(workspace, model)
        return found.features, found.model_id
    try:
        scoring, _ = first_scoring(workspace, Requests(workspace.control))
    except BundleError:
        return workspace_features(workspace), "features.py"
    return scoring.features, scoring.model_id


def _beginning(
    workspace: Workspace, features: FeatureSet, stream: str, progress: Progress
) -> tuple[Fold, Mark, int]:
    """Return the state to go on with, its mark, and how many events of history are new in it."""
    found = newest_state(workspace, features, state_snapshots(workspace))
    if found is not None:
        return *found, 0
    fold = make_fold(workspace, features)
    head, base = _first_boot(workspace)
    events, checks_from = read_history(workspace, base).events, 0
    if head.arrival != len(events) + 1:
        # Retention has removed the journal's beginning. It keeps all that features look back at,
        # and the history lies before that.
        events, checks_from = events[:0], _NO_START
    fold.absorb(events, partial(progress, "fold the history"))
    return fold, Mark(stream, 0, head.arrival, 0, 0, base, checks_from), len(events)


def _first_boot(workspace: Workspace) -> tuple[EntryHead, str]:
    """Return the head of the journal's first record, and the snapshot of history before it."""
    for _, payload in Follower(workspace.journal).read(1):
        head = EntryHead.decode(payload)
        if head.kind == EntryKind.boot:
            return head, BootRecord.decode(payload).dataset
    raise JournalError(
        f"{workspace.journal} does not begin with versions; accepted: the start of a segment that "
        "a scorer began, or a snapshot of the feature state"
    )


def _follow(workspace: Workspace, fold: Fold, mark: Mark, progress: Progress) -> Mark:
    """Fold the journal up to its end, and make it durable up to there."""
    follower = Follower(workspace.journal, mark.position)
    total = follower.behind_bytes() >> 20
    while records := follower.read():
        rows = 0
        for part in scan_events(records):
            fold(part.events)
            rows += len(part.events)
        head = EntryHead.decode(records[-1][1])
        mark = replace(
            mark,
            position=follower.position,
            next_arrival=head.arrival + 1,
            arrival_ms=head.arrival_ms,
            rows=mark.rows + rows,
        )
        left = follower.behind_bytes() >> 20
        progress("fold the journal (MB)", max(total - left, 0), total)
    follower.sync()
    return mark
