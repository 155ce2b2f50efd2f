"""The workspace's feature set and its state."""

from __future__ import annotations

import logging
import runpy
from typing import Final

from assay.clock import Clock, SystemClock
from assay.errors import FeatureError, JournalError
from assay.features.definitions import FeatureSet
from assay.features.fold import Fold
from assay.features.snapshots import Mark, Snapshots, newest_fold
from assay.journal.entries import first_arrival
from assay.journal.follower import Follower
from assay.workspace import Workspace

log = logging.getLogger("assay.features")

ANYWHERE: Final = 1 << 62
"""Beyond every journal: a snapshot never holds more than is durable."""


def workspace_features(workspace: Workspace) -> FeatureSet:
    """Return the feature set that the workspace's ``features.py`` defines.

    Raises
    ------
    FeatureError
        If the file is missing, does not run, or defines no `FeatureSet` named ``features``.
    """
    path = workspace.path / "features.py"
    if not path.is_file():
        raise FeatureError(f"{path} is missing; make it with: assay init {workspace.path}")
    try:
        features = runpy.run_path(str(path)).get("features")
    except FeatureError:
        raise
    except (Exception, SystemExit) as error:
        raise FeatureError(f"features.py does not run: {type(error).__name__}: {error}") from error
    if not isinstance(features, FeatureSet):
        raise FeatureError("features.py defines no FeatureSet named 'features'")
    return features


def state_bounds(workspace: Workspace) -> dict[str, int]:
    """Return what a feature state is bounded by."""
    settings = workspace.settings
    return {
        "lateness_ms": settings.lateness_s * 1000,
        "entities_max": settings.entities_max,
        "events_max": settings.entity_events_max,
    }


def make_fold(workspace: Workspace, features: FeatureSet) -> Fold:
    """Return an empty feature state with the workspace's bounds."""
    return Fold(features, **state_bounds(workspace))


def state_snapshots(workspace: Workspace, clock: Clock | None = None) -> Snapshots:
    """Return the snapshots of the workspace's feature state; they leave the journal its reserve."""
    reserve_bytes = workspace.settings.disk_reserve_mb << 20
    return Snapshots(workspace.state, clock or SystemClock(), reserve_bytes=2 * reserve_bytes)


def newest_state(
    workspace: Workspace,
    features: FeatureSet,
    snapshots: Snapshots,
    end_position: int = ANYWHERE,
    from_position: int = 0,
) -> tuple[Fold, Mark] | None:
    """Return the newest state that the workspace's journal continues; None if there is none.

    Parameters
    ----------
    workspace : Workspace
    features : FeatureSet
    snapshots : Snapshots
    end_position, from_position : int
        Where in the journal it may lie at most, and at least.
    """

    def fits(mark: Mark) -> bool:
        return from_position <= mark.position <= end_position and continues(workspace, mark)

    return newest_fold(
        snapshots,
        features,
        **state_bounds(workspace),
        stream=Follower(workspace.journal).stream,
        fits=fits,
    )


def continues(workspace: Workspace, mark: Mark) -> bool:
    """Tell whether the journal goes on where a snapshot ends: a cut may have taken its events."""
    try:
        records = Follower(workspace.journal, mark.position).read(1)
    except JournalError as error:
        log.warning("a snapshot of the feature state does not fit the journal: %s", error)
        return False
    return not records or first_arrival(records[0][1]) == mark.next_arrival


def restore_fold(
    workspace: Workspace, features: FeatureSet, stream: str, end_position: int
) -> tuple[Fold, Mark] | None:
    """Return the newest state that fits, for the one who holds the journal's lock.

    Snapshots beyond the journal's end are deleted: what they hold was never durable.
    """
    snapshots = state_snapshots(workspace)
    snapshots.drop_ahead(stream, end_position)
    return newest_state(workspace, features, snapshots, end_position)
