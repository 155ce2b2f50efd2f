"""Fill a batch's actions, reasons and modes from its scores and a policy.

Precedence, for each transaction:

1. The base is what the score says: at or above a threshold, that threshold's action; below
   all, approve. Without a score the base is the answer of the rung in use. Kinds that move no
   money out (login, profile change, capture, reversal, refund) are recorded, not scored:
   their base is approve.
2. A rule that approves lifts the base to approve where there is a score, and nothing else:
   it does not answer for a missing score.
3. A rule that challenges, reviews or declines forces at least its action, whatever approves.

So without a score a payment is approved only if the policy's own ``[rungs]`` say so.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from assay.decisions.policy import ABOVE_CODES, RUNG_CODES, Policy, Rule
from assay.records import REASONS_MAX, SCORED_KINDS, Action, Batch, Mode

_Mask = NDArray[np.bool_]

_SCORED: Final = np.isin(np.arange(256), SCORED_KINDS)
_STRENGTHS: Final = (Action.decline, Action.review, Action.challenge)


def decide(batch: Batch, policy: Policy) -> None:
    """Decide every row of a batch, in place.

    A row whose kind is scored but whose score is NaN gets the mode `Mode.rules` if the
    caller had set a better one: the answer came without a model. In mode `Mode.default`
    no rule is asked, since nothing that it looks at can be trusted.

    Parameters
    ----------
    batch : Batch
        Its events, features, scores (NaN: no model scored) and modes (the rung in use;
        empty: full) are read; its actions, reasons and modes are written.
    policy : Policy
        Compiled for the batch's feature set.
    """
    if not len(batch.modes):
        batch.modes = np.full(len(batch), Mode.full, np.uint8)
    payment = _SCORED[batch.events["kind"]]
    blind = np.isnan(batch.scores) & payment
    batch.modes[blind & (batch.modes < Mode.rules)] = Mode.rules
    base = _base(batch, policy, payment, blind)
    fired = _fired(batch, policy)
    for rule, hit in fired:
        if rule.action == Action.approve:
            base[hit & ~blind] = Action.approve
    actions = base.copy()
    for rule, hit in fired:
        if rule.action:
            np.maximum(actions, np.uint8(rule.action), out=actions, where=hit)
    batch.actions = actions
    batch.reasons = _reasons(fired, base, _base_codes(batch, base, blind))


def watch(batch: Batch, policy: Policy) -> dict[str, _Mask]:
    """Return where each shadow rule fires, by rule name: what it would have touched."""
    return {rule.name: rule.expression.fires(batch) for rule in policy.rules if rule.shadow}


def _base(batch: Batch, policy: Policy, payment: _Mask, blind: _Mask) -> NDArray[np.uint8]:
    scores = batch.scores.astype(np.float64)
    challenge, review, decline = policy.cuts
    base = (scores >= challenge).astype(np.uint8)
    base += scores >= review
    base += scores >= decline
    base[~payment] = Action.approve
    if blind.any():
        unruled = batch.modes == Mode.default
        base[blind] = policy.rungs[Mode.rules]
        base[blind & unruled] = policy.rungs[Mode.default]
    return base


def _fired(batch: Batch, policy: Policy) -> list[tuple[Rule, _Mask]]:
    """Return the live rules that fire anywhere, strongest first, with where they do."""
    ruled = batch.modes != Mode.default
    if not ruled.any():
        return []  # there may not even be a feature matrix
    hits = [
        (rule, rule.expression.fires(batch) & ruled) for rule in policy.rules if not rule.shadow
    ]
    return [(rule, hit) for rule, hit in hits if hit.any()]


def _base_codes(batch: Batch, base: NDArray[np.uint8], blind: _Mask) -> NDArray[np.uint16]:
    codes = _ABOVE[base]
    if blind.any():
        codes[blind] = _RUNG[batch.modes[blind]]
    return codes


_ABOVE: Final = np.array([0, *(ABOVE_CODES[Action(i)] for i in (1, 2, 3))], np.uint16)
_RUNG: Final = np.array([0, 0, RUNG_CODES[Mode.rules], RUNG_CODES[Mode.default]], np.uint16)


def _reasons(
    fired: list[tuple[Rule, _Mask]], base: NDArray[np.uint8], base_codes: NDArray[np.uint16]
) -> NDArray[np.uint16]:
    """Return reason codes, shape (n, 4): strongest action first, rules before the score."""
    reasons = np.zeros((len(base), REASONS_MAX), np.uint16)
    if not fired:
        reasons[:, 0] = np.where(base > 0, base_codes, 0)
        return reasons
    used = np.zeros(len(base), np.intp)
    for strength in _STRENGTHS:
        for rule, hit in fired:
            if rule.action == strength:
                _add(reasons, used, hit, rule.code)
        _add(reasons, used, base == strength, base_codes)
    for rule, hit in fired:
        if not rule.action:
            _add(reasons, used, hit, rule.code)
    return reasons


def _add(
    reasons: NDArray[np.uint16],
    used: NDArray[np.intp],
    where: _Mask,
    code: int | NDArray[np.uint16],
) -> None:
    rows = np.flatnonzero(where & (used < REASONS_MAX))
    reasons[rows, used[rows]] = code if isinstance(code, int) else code[rows]
    used[rows] += 1
