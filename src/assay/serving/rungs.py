"""One batch down the ladder: the model's scores if it can give them, else the rules alone."""

from __future__ import annotations

import logging

import numpy as np

from assay.errors import AssayError
from assay.records import SCORED_KINDS, Batch, Mode
from assay.serving.ports import Decider, Model

log = logging.getLogger("assay.serving")


def score_and_decide(batch: Batch, model: Model | None, decider: Decider) -> Batch:
    """Fill scores, modes, actions and reasons of a batch that has features.

    Only kinds that move money out are scored. Without a model, or when it fails, they are
    answered by the rules rung, which says so; no failure turns into an approval.
    """
    n = len(batch)
    batch.scores = np.full(n, np.nan, np.float32)
    batch.modes = np.full(n, Mode.full, np.uint8)
    scored = np.isin(batch.events["kind"], SCORED_KINDS)
    try:
        if model is None:
            batch.modes[scored] = Mode.rules
        elif scored.all():
            batch.scores = model.score(batch.features)
        elif scored.any():
            batch.scores[scored] = model.score(batch.features[scored])
    except AssayError as error:
        log.error("the model failed and the rules answer: %s", error)  # noqa: TRY400 — one line
        batch.modes[scored] = Mode.rules
    decider(batch)
    return batch
