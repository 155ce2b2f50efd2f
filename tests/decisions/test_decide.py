"""Deciding: precedence, reasons, and what must hold for any scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.decisions.decide import decide, watch
from assay.decisions.policy import Policy
from assay.records import SCORED_KINDS, Action, Batch, Kind, Mode, empty_events

NAN = float("nan")
HEAD = """
version = "1"
[thresholds]
challenge = 0.1
review = 0.3
decline = 0.8
"""
RULES = {
    "decline": "x >= 100",
    "review": "x >= 10 and x < 100",
    "challenge": "x == 5",
    "approve": "y == 1",
}


def rule(name: str, when: str, extra: str = "") -> str:
    return f'[[rules]]\nname = "{name}"\nwhen = "{when}"\nreason = "About {name}."\n{extra}\n'


STRICT = "".join(rule(a, when, f'action = "{a}"') for a, when in RULES.items() if a != "approve")
ALLOW = rule("approve", RULES["approve"], 'action = "approve"')
POLICY = Policy.load(HEAD + STRICT + ALLOW, ["x", "y"])


def make_batch(
    scores: list[float],
    x: float = NAN,
    y: float = NAN,
    mode: Mode = Mode.full,
    kind: Kind = Kind.authorisation,
) -> Batch:
    events = empty_events(len(scores))
    events["kind"] = kind
    features = np.tile(np.array([x, y], np.float32), (len(scores), 1))
    modes = np.full(len(scores), mode, np.uint8)
    return Batch(events, features, np.array(scores, np.float32), modes=modes)


def actions(batch: Batch, policy: Policy = POLICY) -> list[str]:
    decide(batch, policy)
    return [Action(code).name for code in batch.actions]


def codes(batch: Batch, policy: Policy = POLICY, row: int = 0) -> list[str]:
    return [policy.reasons[code][0] for code in batch.reasons[row].tolist() if code]


def test_thresholds() -> None:
    """A score at or above a threshold gets its action and says so."""
    batch = make_batch([0.0, 0.09, 0.11, 0.31, 0.81, 1.0])
    assert actions(batch) == ["approve", "approve", "challenge", "review", "decline", "decline"]
    assert [codes(batch, row=i) for i in range(5)] == [[], [], ["R003"], ["R002"], ["R001"]]
    assert batch.actions.dtype == np.uint8
    assert batch.reasons.dtype == np.uint16


@pytest.mark.parametrize(
    ("x", "y", "score", "action", "reasons"),
    [
        (100, 1, 0.0, "decline", ["R101", "R104"]),  # a decline wins over an allow
        (10, 1, 0.9, "review", ["R102", "R104"]),  # so does a review; the allow lifts the score
        (NAN, 1, 0.9, "approve", ["R104"]),
        (5, 0, 0.9, "decline", ["R001", "R103"]),  # the strongest reason stands first
        (5, 0, 0.0, "challenge", ["R103"]),
        (10, 0, 0.4, "review", ["R102", "R002"]),  # at equal strength the rule stands first
        (NAN, NAN, 0.0, "approve", []),
    ],
)
def test_precedence(x: float, y: float, score: float, action: str, reasons: list[str]) -> None:
    """Rules that stop win over rules that approve, which win over thresholds."""
    batch = make_batch([score], x, y)
    assert actions(batch) == [action]
    assert codes(batch) == reasons


@pytest.mark.parametrize("mode", list(Mode))
def test_without_a_score(mode: Mode) -> None:
    """Without a score the rung answers, the mode says so, and an allow rule has no say."""
    batch = make_batch([NAN], y=1, mode=mode)
    assert actions(batch) == ["review"]
    assert batch.modes.tolist() == [max(mode, Mode.rules)]
    assert codes(batch)[0] == ("R005" if mode == Mode.default else "R004")


def test_rules_without_a_score() -> None:
    """Rules decide in mode rules; in mode default nobody asks them."""
    assert actions(make_batch([NAN], x=100, mode=Mode.rules)) == ["decline"]
    assert actions(make_batch([NAN], x=100, mode=Mode.default)) == ["review"]


def test_the_last_rung_needs_nothing() -> None:
    """Mode default answers even when there is no feature matrix for rules to look at."""
    batch = make_batch([NAN], mode=Mode.default)
    batch.features = np.empty((1, 0), np.float32)
    assert actions(batch) == ["review"]


def test_an_approving_rung_must_be_written() -> None:
    """Only a policy whose rungs say approve approves without a score."""
    policy = Policy.load(HEAD + '[rungs]\nrules = "approve"\n' + STRICT, ["x", "y"])
    assert actions(make_batch([NAN]), policy) == ["approve"]
    assert actions(make_batch([NAN], mode=Mode.default), policy) == ["review"]
    assert actions(make_batch([NAN], x=100), policy) == ["decline"]


@pytest.mark.parametrize("kind", sorted(set(Kind) - set(SCORED_KINDS)))
def test_kinds_that_are_not_scored(kind: Kind) -> None:
    """What moves no money out is recorded as approved unless a rule stops it."""
    batch = make_batch([NAN], kind=kind)
    assert actions(batch) == ["approve"]
    assert batch.modes.tolist() == [Mode.full]
    assert codes(batch) == []
    assert actions(make_batch([NAN], x=100, kind=kind)) == ["decline"]


def test_tags_and_shadows() -> None:
    """A rule without action only adds its reason; a shadow rule does nothing but be watched."""
    text = (
        HEAD + rule("tag", "x == 1") + rule("dark", "x == 1", 'action = "decline"\nshadow = true')
    )
    policy = Policy.load(text, ["x", "y"])
    batch = make_batch([0.0], x=1)
    assert actions(batch, policy) == ["approve"]
    assert codes(batch, policy) == ["R101"]
    assert {name: hit.tolist() for name, hit in watch(batch, policy).items()} == {"dark": [True]}


def test_at_most_four_reasons() -> None:
    """Of many reasons the four strongest are kept, the deciding one first."""
    many = "".join(rule(f"r{i}", "x == 1", 'action = "challenge"') for i in range(6))
    batch = make_batch([0.9, 0.0], x=1)
    assert actions(batch, policy := Policy.load(HEAD + many, ["x", "y"])) == [
        "decline",
        "challenge",
    ]
    assert codes(batch, policy) == ["R001", "R101", "R102", "R103"]
    assert codes(batch, policy, row=1) == ["R101", "R102", "R103", "R104"]


def test_modes_are_optional() -> None:
    """Modes that the caller leaves empty mean full, and an empty batch is decided too."""
    batch = Batch(empty_events(2), np.zeros((2, 2), np.float32), np.zeros(2, np.float32))
    batch.events["kind"] = Kind.transfer
    assert actions(batch) == ["approve", "approve"]
    assert batch.modes.tolist() == [Mode.full, Mode.full]
    assert actions(make_batch([])) == []


scores = st.floats(0, 1, width=32)
features = st.sampled_from([NAN, 0, 1, 5, 10, 100])


@given(scores, scores, features, features)
def test_severity_never_falls_as_the_score_rises(a: float, b: float, x: float, y: float) -> None:
    """A riskier score never gets a milder action."""
    batch = make_batch(sorted([a, b]), x, y)
    decide(batch, POLICY)
    assert batch.actions[0] <= batch.actions[1]


@given(
    st.lists(scores | st.just(NAN), min_size=1, max_size=20),
    features,
    features,
    st.sampled_from(Mode),
    st.sampled_from(SCORED_KINDS),
)
def test_every_decision_can_be_defended(
    many: list[float], x: float, y: float, mode: Mode, kind: Kind
) -> None:
    """NaN never approves, and whatever is not approved has a reason with a sentence."""
    batch = make_batch(many, x, y, mode, kind)
    decide(batch, POLICY)
    assert not (np.isnan(batch.scores) & (batch.actions == Action.approve)).any()
    assert ((batch.actions == Action.approve) | (batch.reasons[:, 0] > 0)).all()
    assert all(POLICY.reasons[code][0] for code in batch.reasons.ravel().tolist() if code)


@given(st.lists(scores | st.just(NAN), min_size=2, max_size=20), st.integers(1, 19), features)
def test_batch_edges_change_nothing(many: list[float], cut: int, x: float) -> None:
    """A row gets the same decision in whatever batch it travels."""
    whole, first, rest = (make_batch(part, x) for part in (many, many[:cut], many[cut:]))
    for batch in (whole, first, rest):
        decide(batch, POLICY)
    assert whole.actions.tolist() == first.actions.tolist() + rest.actions.tolist()
    assert whole.reasons.tolist() == first.reasons.tolist() + rest.reasons.tolist()
