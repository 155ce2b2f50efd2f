"""A new workspace, and the policy it begins with."""

from __future__ import annotations

from pathlib import Path

from assay.decisions.default_policy import default_policy
from assay.errors import SettingsError
from assay.features.default_set import default_features
from assay.ingest.money import CURRENCIES
from assay.workspace import Workspace


def first_policy() -> str:
    """Return the policy of a new workspace: training replaces it while nobody has changed it."""
    return default_policy(default_features().names, {})


def create_workspace(folder: Path, reference_currency: str = "EUR") -> Workspace:
    """Make a workspace with a first policy; files that are there already stay as they are.

    Raises
    ------
    SettingsError
        If the currency is unknown.
    """
    if reference_currency not in CURRENCIES:
        raise SettingsError(f"currency {reference_currency!r}; accepted: an ISO 4217 code")
    workspace = Workspace.create(folder, reference_currency)
    if not workspace.policy.exists():
        workspace.policy.write_text(first_policy(), encoding="utf-8")
    return workspace
