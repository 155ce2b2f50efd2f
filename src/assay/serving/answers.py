"""Builds the JSON answer: the same bytes from the batch and, later, from the journal."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from assay.records import Action, Decision, Mode, Reason
from assay.serving.ports import Record, Versions

_ACTIONS = [action.name for action in sorted(Action)]
_MODES = [mode.name for mode in sorted(Mode)]
_encode = msgspec.json.Encoder().encode


class Answers:
    """Renders decisions made under one boot record.

    Parameters
    ----------
    versions : Versions
        What the boot record names.
    decision_id : callable
        From an arrival number to the public id.
    """

    def __init__(self, versions: Versions, decision_id: Callable[[int], str]) -> None:
        self._versions = versions
        self._decision_id = decision_id
        self._arms = versions.arms or ("champion",)
        self._reasons = [Reason(code, text) for code, text in versions.reasons]

    def render(
        self,
        transaction_id: str,
        arrival: int,
        score: float,
        action: int,
        mode: int,
        reasons: tuple[int, ...] | list[int],
        leaf: bytes,
    ) -> bytes:
        """Return the body of an answer. The score is rounded to six decimals; NaN is null."""
        versions = self._versions
        return _encode(
            Decision(
                self._decision_id(arrival),
                transaction_id,
                _ACTIONS[action],
                None if math.isnan(score) else round(score, 6),
                tuple(self._reasons[code] for code in reasons if code),
                versions.model,
                versions.policy,
                versions.feature_set,
                versions.runtime,
                self._arms[0],
                _MODES[mode],
                leaf.hex(),
            )
        )

    def again(self, transaction_id: str, record: Record, leaf: bytes) -> bytes:
        """Return the body that a journalled decision was answered with."""
        return self.render(
            transaction_id,
            record.arrival,
            record.score,
            record.action,
            record.mode,
            record.reasons,
            leaf,
        )
