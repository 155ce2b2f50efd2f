"""The workspace's feature set and its state."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

from assay.errors import (
    FeatureError,
)
from assay.features.definitions import FeatureSet
from assay.features.fold import Fold
from assay.workspace import Workspace

if TYPE_CHECKING:
    pass


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
