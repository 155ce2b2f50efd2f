"""A model with its features and its policy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from assay.bootstrap.bundles import bundle_folders, find_folder
from assay.bootstrap.features import workspace_features
from assay.decisions.decide import decide
from assay.decisions.policy import Policy
from assay.errors import BundleError, PolicyError
from assay.features.definitions import FeatureSet
from assay.ingest.money import CURRENCIES
from assay.records import Batch
from assay.scoring.bundle import Bundle
from assay.scoring.keys import public_key
from assay.scoring.scorer import Scorer
from assay.workspace import Workspace


@dataclass(frozen=True)
class Scoring:
    """A model, the features it was trained on, and the policy over both."""

    features: FeatureSet
    model: Scorer | None
    model_id: str
    policy: Policy

    def decide(self, batch: Batch) -> None:
        """Fill a batch's actions, reasons and modes."""
        decide(batch, self.policy)


def find_bundle(workspace: Workspace, name: str | None) -> Path:
    """Return the folder of a bundle: the named one, else the newest version.

    Raises
    ------
    BundleError
        If there is none.
    """
    if name is not None:
        return find_folder(workspace, name)
    folders = [p for p in bundle_folders(workspace) if re.search(r"-\d+\.\d+\.\d+$", p.name)]
    if not folders:
        raise BundleError(
            f"no model in {workspace.models}; train one with: assay train, "
            "or decide by rules alone with: assay serve --rules-only"
        )
    return folders[0]


def load_scoring(
    workspace: Workspace, model: str | None = None, *, rules_only: bool = False
) -> Scoring:
    """Load a model with its features and policy, checking that they belong together.

    Raises
    ------
    BundleError, FeatureError, PolicyError
        If one is missing or wrong; the message says what to do.
    """
    defined = workspace_features(workspace)
    if rules_only:
        return Scoring(defined, None, "none", _load_policy(workspace, defined))
    bundle = Bundle.load(find_bundle(workspace, model), public_key(workspace.keys))
    manifest = bundle.manifest
    wanted = set(manifest.features)
    features = FeatureSet(tuple(f for f in defined.features if f.name in wanted))
    if features.digest != manifest.feature_set or features.names != tuple(manifest.features):
        raise BundleError(
            f"{manifest.model_id} was trained on feature set {manifest.feature_set[:12]}, "
            f"features.py gives {features.digest[:12]}; restore features.py or train again"
        )
    return _scoring(workspace, bundle, features)


def load_model(workspace: Workspace, model: str, features: FeatureSet) -> Scoring:
    """Load a model for features that are in use, with the policy as it is now.

    Raises
    ------
    BundleError, PolicyError
        If one is missing, wrong, or made for other features.
    """
    folder = find_bundle(workspace, model)
    bundle = Bundle.load(folder, public_key(workspace.keys), features.digest)
    if bundle.manifest.model_id != model:
        raise BundleError(
            f"{model} holds {bundle.manifest.model_id}; accepted: the version that it is named by"
        )
    return _scoring(workspace, bundle, features)


def _scoring(workspace: Workspace, bundle: Bundle, features: FeatureSet) -> Scoring:
    policy = _load_policy(workspace, features)
    return Scoring(features, Scorer(bundle), bundle.manifest.model_id, policy)


def _load_policy(workspace: Workspace, features: FeatureSet) -> Policy:
    if not workspace.policy.is_file():
        raise PolicyError(
            f"{workspace.policy} is missing; accepted: a policy, assay train writes a first one"
        )
    text = workspace.policy.read_text(encoding="utf-8")
    return Policy.load(text, features.names, {code: c.number for code, c in CURRENCIES.items()})
