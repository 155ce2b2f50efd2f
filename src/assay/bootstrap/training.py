"""From everything imported to a new version of the model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from assay.bootstrap.create import first_policy
from assay.bootstrap.features import make_fold, workspace_features
from assay.bootstrap.progress import Progress, quiet
from assay.clock import Clock, SystemClock
from assay.datasets.table import TransactionTable
from assay.decisions.default_policy import default_policy
from assay.errors import (
    TrainingError,
)
from assay.scoring.bundle import write_bundle
from assay.scoring.keys import signing_key
from assay.workspace import Workspace

if TYPE_CHECKING:
    from assay.training.train import TrainingResult


def train_model(
    workspace: Workspace, *, seed: int = 0, progress: Progress = quiet, clock: Clock | None = None
) -> TrainingResult:
    """Train the next version on everything imported, and write a first policy if there is none."""
    from assay.training.train import train

    history = TransactionTable(workspace.tables).read()
    if not len(history.events):
        raise TrainingError("nothing is imported yet; accepted: after assay import")
    if not (history.fraud == 1).any():
        raise TrainingError(
            f"none of the {len(history.events):,} imported transactions is labelled as fraud; "
            "accepted: labels, mapped under [label] when they are imported (docs/ingest.md)"
        )
    kinds = frozenset(int(kind) for kind in set(history.events["kind"].tolist()))
    features = workspace_features(workspace).available(history.fields, kinds)
    progress("compile the feature kernel", 0, 0)
    fold = make_fold(workspace, features)
    progress("compile the feature kernel", 1, 1)
    matrix = fold.replay(history.events, partial(progress, "replay the history"))
    result = train(
        history.events,
        matrix,
        history.fraud,
        history.reported_ms,
        names=features.names,
        feature_set_digest=features.digest,
        dataset_snapshot=history.snapshot,
        out_dir=workspace.models,
        write_bundle=partial(write_bundle, key=signing_key(workspace.keys)),
        clock=clock or SystemClock(),
        label_delay_days=workspace.settings.label_delay_days,
        seed=seed,
        progress=lambda _step, share: progress("train the model", int(share * 100), 100),
    )
    if not workspace.policy.exists() or workspace.policy.read_text("utf-8") == first_policy():
        thresholds = suggested_thresholds(result.metrics)
        workspace.policy.write_text(default_policy(features.names, thresholds), encoding="utf-8")
    return result


FLAGGED_SHARES = {"challenge": 0.01, "review": 0.005, "decline": 0.001}
"""Shares of payments that a first policy stops at each action; the user's own to change."""


def suggested_thresholds(metrics: dict[str, Any]) -> dict[str, float]:
    """Return thresholds for a first policy: those whose flagged share is nearest the wanted."""
    points = [row["chosen_on"] for row in metrics["thresholds"]]
    if not points:
        return {}
    return {
        name: max(1e-6, round(min(points, key=lambda p: abs(p["flagged"] - share))["threshold"], 6))
        for name, share in FLAGGED_SHARES.items()
    }
