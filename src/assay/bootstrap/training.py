"""From everything imported, and what the stream brought since, to a new version of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay import durable
from assay.bootstrap.create import first_policy
from assay.bootstrap.features import make_fold, workspace_features
from assay.bootstrap.progress import Progress, quiet
from assay.clock import Clock, SystemClock
from assay.datasets.learning import Learning, learn_from
from assay.datasets.snapshots import Snapshot, write_snapshot
from assay.datasets.stream_view import StreamView, read_stream
from assay.datasets.table import TransactionTable
from assay.decisions.default_policy import default_policy
from assay.errors import TrainingError
from assay.journal.boot_record import BootRecord
from assay.journal.follower import Follower
from assay.monitoring.grids import make_grids
from assay.owner import Owner
from assay.scoring.bundle import write_bundle
from assay.scoring.keys import signing_key
from assay.workspace import Workspace

if TYPE_CHECKING:
    from assay.training.train import BundleWriter, TrainingResult


def train_model(
    workspace: Workspace, *, seed: int = 0, progress: Progress = quiet, clock: Clock | None = None
) -> TrainingResult:
    """Train the next version, and write a first policy if there is none.

    It learns from what is imported and what the worker has read of the stream.

    Raises
    ------
    OwnerError
        If another training runs in this workspace.
    AssayError
        If the data cannot give a model, or a part of it is missing or damaged.
    """
    from assay.training.train import train

    clock = clock or SystemClock()
    with Owner(workspace.run / "trainer", "trainer") as owner:
        data = read_learning(workspace)
        _check(data)
        _record(workspace, data, clock)
        features = workspace_features(workspace).available(data.fields, data.kinds)
        progress("compile the feature kernel", 0, 0)
        fold = make_fold(workspace, features)
        progress("compile the feature kernel", 1, 1)
        matrix = fold.replay(data.events, partial(progress, "replay the history"))
        result = train(
            data.events,
            matrix,
            data.fraud,
            data.reported_ms,
            names=features.names,
            feature_set_digest=features.digest,
            dataset_snapshot=data.snapshot,
            out_dir=workspace.models,
            write_bundle=_writer(workspace, owner),
            make_grids=make_grids,
            clock=clock,
            label_delay_days=workspace.settings.label_delay_days,
            open_end=data.stream_rows > 0,
            seed=seed,
            progress=lambda _step, share: progress("train the model", int(share * 100), 100),
        )
        _first_policy(workspace, features.names, result.metrics)
    return result


def read_learning(workspace: Workspace) -> Learning:
    """Return the rows that a training would learn from now, in the order of the replay."""
    history = TransactionTable(workspace.tables).read()
    view = read_stream(workspace.stream)
    return learn_from(history, view, _base_last_ms(workspace, view))


def _base_last_ms(workspace: Workspace, view: StreamView) -> int:
    """Return the newest event time of what the stream began with; 0 if that cannot be known."""
    follower = Follower(workspace.journal)
    if not view.stream or follower.stream != view.stream or not (first := follower.read(1)):
        return 0
    return TransactionTable(workspace.tables).last_ms(BootRecord.decode(first[0][1]).dataset)


def _writer(workspace: Workspace, owner: Owner) -> BundleWriter:
    """Return what writes a bundle, unless another training has taken over meanwhile."""
    key = signing_key(workspace.keys)

    def write(folder: Path, facts: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
        owner.check()
        return write_bundle(folder, facts, files, key)

    return write


def _check(data: Learning) -> None:
    if not len(data.events):
        raise TrainingError("nothing is imported yet; accepted: after assay import")
    if not (data.fraud == 1).any():
        raise TrainingError(
            f"none of the {len(data.events):,} transactions is labelled as fraud; accepted: "
            "labels, mapped under [label] when they are imported (docs/ingest.md), or brought "
            "with assay label"
        )


def _record(workspace: Workspace, data: Learning, clock: Clock) -> None:
    """Keep what the snapshot is made of, for whoever asks what a model came from."""
    imports = TransactionTable(workspace.tables).imports(data.imports)
    record = Snapshot(
        snapshot=data.snapshot,
        created_ms=clock.now_ms(),
        imports=[str(entry["sha256"]) for entry in imports],
        stream=data.stream,
        position=data.position,
        imported_rows=data.imported_rows,
        stream_rows=data.stream_rows,
        stream_labels=data.stream_labels,
        rows=len(data.events),
        frauds=int((data.fraud == 1).sum()),
    )
    write_snapshot(workspace.snapshots, record)


def _first_policy(workspace: Workspace, names: Sequence[str], metrics: dict[str, Any]) -> None:
    """Write a policy with thresholds that fit the model, unless somebody has one already."""
    if not workspace.policy.exists() or workspace.policy.read_text("utf-8") == first_policy():
        text = default_policy(names, suggested_thresholds(metrics))
        durable.replace(workspace.policy, text.encode(), mode=0o644)


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
