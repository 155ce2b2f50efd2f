from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from assay.clock import VirtualClock
from assay.decisions.decide import decide
from assay.decisions.policy import Policy
from assay.errors import AssayError
from assay.records import Action, Batch, Kind, Mode, empty_events
from assay.serving.ladder import Ladder

POLICY = Policy.load(
    """
    version = "1"
    [thresholds]
    decline = 0.5
    [rungs]
    rules = "review"
    default = "decline"
    [[rules]]
    name = "always"
    when = "amount_ref >= 0"
    reason = "There is an amount."
    """,
    ["amount_ref"],
)


def batch() -> Batch:
    events = empty_events(3)
    events["kind"] = [Kind.authorisation, Kind.login, Kind.transfer]
    events["amount_ref"] = [100, -1, 200]
    return Batch(events, np.array([[100.0], [np.nan], [200.0]], np.float32))


class Model:
    """Gives what it is told to, or raises it."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def score(self, features: np.ndarray) -> np.ndarray:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return np.full(len(features), self.outcome, np.float32)


def test_a_good_model_scores_what_moves_money() -> None:
    """Payments are scored in mode full; other kinds have no score."""
    decided = Ladder(Model(0.1), partial(decide, policy=POLICY), VirtualClock())(batch())
    np.testing.assert_array_equal(np.isnan(decided.scores), [False, True, False])
    assert decided.modes.tolist() == [Mode.full] * 3
    assert decided.actions.tolist() == [Action.approve] * 3


@pytest.mark.parametrize("outcome", [AssayError("no"), RuntimeError("native"), MemoryError()])
def test_a_failing_model_leaves_it_to_the_rules(outcome: Exception) -> None:
    """Whatever the model raises, payments are answered by the rules rung and never approved."""
    ladder = Ladder(Model(outcome), partial(decide, policy=POLICY), VirtualClock())
    decided = ladder(batch())
    assert decided.modes.tolist() == [Mode.rules, Mode.full, Mode.rules]
    assert decided.actions.tolist() == [Action.review, Action.approve, Action.review]
    assert np.isnan(decided.scores).all()
    assert ladder.failures == {"model": 1, "rules": 0}


def test_nan_scores_never_approve() -> None:
    """A score that is no number is no score."""
    decided = Ladder(Model(np.nan), partial(decide, policy=POLICY), VirtualClock())(batch())
    assert decided.modes.tolist() == [Mode.rules, Mode.full, Mode.rules]
    assert Action.approve not in decided.actions[[0, 2]]


def test_failing_rules_leave_it_to_the_default() -> None:
    """When the rules themselves fail, the policy's default answers without asking them."""
    calls = []

    def decider(batch: Batch) -> None:
        calls.append(batch.modes.tolist())
        if len(calls) == 1:
            raise ZeroDivisionError
        decide(batch, POLICY)

    decided = Ladder(Model(0.1), decider, VirtualClock())(batch())
    assert decided.modes.tolist() == [Mode.default] * 3
    assert decided.actions.tolist() == [Action.decline, Action.approve, Action.decline]
    assert all(decided.reasons[[0, 2], 0])


def test_a_failing_part_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is told of once a minute, however many batches it hits."""
    clock = VirtualClock(60_000)
    ladder = Ladder(Model(RuntimeError()), partial(decide, policy=POLICY), clock)
    for _ in range(10):
        ladder(batch())
    assert len(caplog.records) == 1
    clock.advance(60_000)
    ladder(batch())
    assert len(caplog.records) == 2
