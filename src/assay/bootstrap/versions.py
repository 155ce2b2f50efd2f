"""The policies and feature sets that decided, kept so that old decisions can be computed again.

Each is a small file named by its version, written durably before the first boot record that names
it, and checked against that name whenever it is read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from assay import durable
from assay.bootstrap.scoring import Scoring
from assay.decisions.policy import Policy
from assay.errors import FeatureError, PolicyError
from assay.features.definitions import FeatureSet
from assay.ingest.firewall import masked
from assay.ingest.money import CURRENCIES
from assay.workspace import Workspace

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DIGITS: Final = 16
"""Of a feature set's digest, as boot records name it."""


def keep_versions(workspace: Workspace, scoring: Scoring) -> None:
    """Keep what decides from now on, durably; a version that is kept and sound stays as it is.

    Raises
    ------
    PolicyError
        If the policy file is no longer the one that was loaded.
    FeatureError
        If the definitions cannot be written down.
    """
    features, policy = scoring.features, scoring.policy
    name = features.digest[:_DIGITS]
    try:
        feature_set(workspace, name)
    except FeatureError:
        _keep(_definitions(workspace, name), features.encode())
    try:
        kept_policy(workspace, policy.id, features)
    except PolicyError:
        text = workspace.policy.read_text(encoding="utf-8")
        if _load(text, features).id != policy.id:
            raise PolicyError(
                f"{workspace.policy} was changed while it was loaded; accepted: try again"
            ) from None
        _keep(_policy(workspace, policy.id), text.encode())


def feature_set(workspace: Workspace, name: str) -> FeatureSet:
    """Return a feature set that decided.

    Parameters
    ----------
    workspace : Workspace
    name : str
        The first 16 digits of its digest, as boot records give them.

    Raises
    ------
    FeatureError
        If it was not kept, or the file was changed since.
    """
    path = _definitions(workspace, name)
    try:
        features = FeatureSet.decode(path.read_bytes())
    except FileNotFoundError:
        raise FeatureError(f"feature set {masked(name)} {_missing(path)}") from None
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from None
    if features.digest[:_DIGITS] != name:
        raise FeatureError(f"{path} holds {features.digest[:_DIGITS]}; {_RESTORE}")
    return features


def policy_text(workspace: Workspace, name: str) -> str:
    """Return the text of a policy that decided; `kept_policy` checks and compiles it.

    Raises
    ------
    PolicyError
        If it was not kept.
    """
    path = _policy(workspace, name)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PolicyError(f"policy {masked(name)} {_missing(path)}") from None
    except UnicodeDecodeError:
        raise PolicyError(f"{path} is no text; {_RESTORE}") from None


def kept_policy(workspace: Workspace, name: str, features: FeatureSet) -> Policy:
    """Return a policy that decided over a feature set.

    Raises
    ------
    PolicyError
        If it was not kept, or the file was changed since.
    """
    text, path = policy_text(workspace, name), _policy(workspace, name)
    try:
        policy = _load(text, features)
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}; {_RESTORE}") from None
    if policy.id != name:
        raise PolicyError(f"{path} holds {policy.id}; {_RESTORE}")
    return policy


def _load(text: str, features: FeatureSet) -> Policy:
    return Policy.load(text, features.names, {code: c.number for code, c in CURRENCIES.items()})


_RESTORE: Final = "restore it from a copy"


def _missing(path: Path) -> str:
    return f"decided and is not in {path.parent}; {_RESTORE}"


def _definitions(workspace: Workspace, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise FeatureError(f"feature set {masked(name)!r}; accepted: {_DIGITS} digits")
    return workspace.versions / "feature_sets" / f"{name}.json"


def _policy(workspace: Workspace, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise PolicyError(f"policy {masked(name)!r}; accepted: a version and 12 digits")
    return workspace.versions / "policies" / f"{name}.toml"


def _keep(path: Path, content: bytes) -> None:
    """Write a version, in place of a file of that name that is not sound."""
    for folder in (path.parent.parent, path.parent):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            durable.sync_folder(folder.parent)
    durable.replace(path, content)
