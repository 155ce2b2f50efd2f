"""The degradation ladder: the model's scores if it can give them, else the rules, else neither."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from assay.clock import Clock
from assay.records import SCORED_KINDS, Batch, Mode
from assay.serving.ports import Decider, Model

log = logging.getLogger("assay.serving")

_TELL_EVERY_MS = 60_000


class Ladder:
    """Fills scores, modes, actions and reasons of batches that have features.

    Only kinds that move money out are scored. Without a model, or when it fails, the rules answer;
    when they fail too, the policy's default does. The decision's mode says so, and no failure
    turns into an approval.

    Parameters
    ----------
    model : Model or None
        None leaves every decision to the rules.
    decider : Decider
        Asks no rule for rows in mode default.
    clock : Clock
        Keeps a failing part from filling the log: it is told of once a minute.

    Attributes
    ----------
    failures : dict of str to int
        Batches for which the ``model`` or the ``rules`` failed.
    """

    def __init__(self, model: Model | None, decider: Decider, clock: Clock) -> None:
        self._model, self._decider, self._clock = model, decider, clock
        self._told_ms = {"model": 0, "rules": 0}
        self.failures = {"model": 0, "rules": 0}

    def use(self, model: Model | None, decider: Decider) -> None:
        """Let another model and policy answer from the next batch on."""
        self._model, self._decider = model, decider

    def __call__(self, batch: Batch) -> Batch:
        """Decide a batch in place and return it."""
        scored = np.isin(batch.events["kind"], SCORED_KINDS)
        batch.scores = np.full(len(batch), np.nan, np.float32)
        batch.modes = np.full(len(batch), Mode.full, np.uint8)
        try:
            self._score(batch, scored)
        except Exception as error:  # noqa: BLE001 — a library's own exceptions have no base
            self._tell("model", error)
            batch.scores = np.full(len(batch), np.nan, np.float32)
            batch.modes[scored] = Mode.rules
        try:
            self._decider(batch)
        except Exception as error:  # noqa: BLE001 — whatever failed, an answer is due
            self._tell("rules", error)
            batch.scores = np.full(len(batch), np.nan, np.float32)
            batch.modes = np.full(len(batch), Mode.default, np.uint8)
            self._decider(batch)
        return batch

    def _score(self, batch: Batch, scored: NDArray[np.bool_]) -> None:
        if self._model is None:
            batch.modes[scored] = Mode.rules
        elif scored.all():
            batch.scores = self._model.score(batch.features)
        elif scored.any():
            batch.scores[scored] = self._model.score(batch.features[scored])

    def _tell(self, part: str, error: Exception) -> None:
        self.failures[part] += 1
        now_ms = self._clock.now_ms()
        if now_ms - self._told_ms[part] >= _TELL_EVERY_MS:
            self._told_ms[part] = now_ms
            log.error("the %s failed, the next rung answers: %r", part, error)
