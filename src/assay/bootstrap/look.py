"""A look at one decision, without recording it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from assay.bootstrap.door import Door, make_encoder
from assay.bootstrap.features import make_fold, newest_state, state_snapshots
from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.rollout import Requests, first_scoring
from assay.bootstrap.scorer import read_history
from assay.clock import Clock, SystemClock
from assay.features.definitions import FeatureSet
from assay.features.fold import Fold
from assay.journal.follower import Follower
from assay.journal.reader import last_boot
from assay.journal.recovery import scan_events
from assay.records import EVENT, Action, Batch, Mode
from assay.serving.arrival import flag_arrivals
from assay.serving.ladder import Ladder
from assay.workspace import Workspace


def look(
    workspace: Workspace,
    body: bytes,
    model: str | None = None,
    *,
    rules_only: bool = False,
    clock: Clock | None = None,
    progress: Progress = quiet,
) -> dict[str, Any]:
    """Decide one transaction on what is known now, without recording it.

    Returns
    -------
    dict
        ``action``, ``score``, ``mode``, ``reasons``, the versions, and ``features`` by name.
    """
    clock = clock or SystemClock()
    requests = Requests(workspace.control)
    scoring, _ = first_scoring(workspace, requests, model, rules_only=rules_only)
    row, _ = Door(make_encoder(workspace), clock).admit(body)
    fold = _fold(workspace, scoring.features, progress)
    events = np.frombuffer(row.event, EVENT).copy()
    events["arrival_ms"] = clock.now_ms()
    flag_arrivals(events, fold.shard_time_ms, workspace.settings.lateness_s * 1000)
    batch = Ladder(scoring.model, scoring.decide, clock)(Batch(events, fold(events)))
    score = float(batch.scores[0])
    codes = [code for code in batch.reasons[0].tolist() if code]
    return {
        "transaction_id": row.public_id,
        "action": Action(batch.actions[0]).name,
        "score": None if np.isnan(score) else round(score, 6),
        "mode": Mode(batch.modes[0]).name,
        "reasons": [" ".join(scoring.policy.reasons[code]) for code in codes],
        "model": scoring.model_id,
        "policy": scoring.policy.id,
        "feature_set": scoring.features.digest[:16],
        "features": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(scoring.features.names, batch.features[0], strict=True)
        },
    }


def _fold(workspace: Workspace, features: FeatureSet, progress: Progress) -> Fold:
    """Return the state as it is now: the newest snapshot's, or the history's, and the journal."""
    follower = Follower(workspace.journal)
    restored = newest_state(workspace, features, state_snapshots(workspace))
    if restored is not None:
        fold, mark = restored
        follower = Follower(workspace.journal, mark.position)
    else:
        boot = last_boot(workspace.journal)
        history = read_history(workspace, None if boot is None else boot.dataset)
        fold = make_fold(workspace, features)
        fold.absorb(history.events, partial(progress, "fold the history"))
    while records := follower.read():
        for part in scan_events(records):
            fold(part.events)
    return fold
