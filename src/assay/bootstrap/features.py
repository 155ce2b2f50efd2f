"""The workspace's feature set and its state."""

from __future__ import annotations

import runpy

from assay.clock import Clock, SystemClock
from assay.errors import FeatureError
from assay.features.definitions import FeatureSet
from assay.features.fold import Fold
from assay.features.snapshots import Mark, Snapshots, newest_fold
from assay.workspace import Workspace


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


def make_fold(workspace: Workspace, features: FeatureSet) -> Fold:
    """Return an empty feature state with the workspace's bounds."""
    settings = workspace.settings
    return Fold(
        features,
        lateness_ms=settings.lateness_s * 1000,
        entities_max=settings.entities_max,
        events_max=settings.entity_events_max,
    )


def restore_fold(
    workspace: Workspace, features: FeatureSet, stream: str, end_position: int
) -> tuple[Fold, Mark] | None:
    """Return the newest state that fits, for the one who holds the journal's lock.

    Snapshots beyond the journal's end are deleted: what they hold was never durable.
    """
    settings = workspace.settings
    snapshots = state_snapshots(workspace)
    snapshots.drop_ahead(stream, end_position)
    return newest_fold(
        snapshots,
        features,
        lateness_ms=settings.lateness_s * 1000,
        entities_max=settings.entities_max,
        events_max=settings.entity_events_max,
        stream=stream,
        end_position=end_position,
    )


def state_snapshots(workspace: Workspace, clock: Clock | None = None) -> Snapshots:
    """Return the snapshots of the workspace's feature state; they leave the journal its reserve."""
    reserve_bytes = workspace.settings.disk_reserve_mb << 20
    return Snapshots(workspace.state, clock or SystemClock(), reserve_bytes=2 * reserve_bytes)
