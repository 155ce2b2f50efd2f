from __future__ import annotations

import numpy as np
import pytest
from made_journal import NAMES, grids_document, history

from assay.monitoring.finding import Finding
from assay.monitoring.grids import Grids
from assay.monitoring.look import degraded_findings, drift_findings, drift_thresholds, message


def test_thresholds_follow_natural_variation() -> None:
    """A quarter for what is steady, and more for what differs from day to day anyway."""
    assert drift_thresholds(np.array([0.0, 0.1, 2.0])).tolist() == [0.25, 0.25, 3.1]


def test_too_few_payments_say_nothing() -> None:
    """Below a thousand payments there is no finding, from it on one for every subject."""
    grids = Grids.load(grids_document())
    features, scores = history(1000, 3)
    assert drift_findings(grids, grids.count(features[:999], scores[:999])) == []
    found = drift_findings(grids, grids.count(features, scores))
    assert [finding.subject for finding in found] == [*NAMES, "score"]
    assert {finding.monitor for finding in found[:-1]} == {"feature_drift"}
    assert (found[-1].monitor, found[-1].rows) == ("score_drift", 1000)
    assert degraded_findings(999, 999) == []


def test_few_scores_are_not_compared() -> None:
    """Where too few payments were scored, the score has no finding, and the features have."""
    grids = Grids.load(grids_document())
    features, scores = history(1500, 3)
    scores[600:] = np.nan
    found = drift_findings(grids, grids.count(features, scores))
    assert [finding.subject for finding in found] == NAMES


def test_half_a_window_unlike_training_is_found() -> None:
    """A feature that tripled in half of the payments is above its threshold, others are not."""
    grids = Grids.load(grids_document())
    features, scores = history(4000, 3)
    features[:2000, 0] *= 3
    above = [f for f in drift_findings(grids, grids.count(features, scores)) if f.ratio > 1]
    assert [finding.subject for finding in above] == ["amount"]


def drift(*values: float) -> list[Finding]:
    return [Finding("feature_drift", f"f{i}", v, 0.25, 5000) for i, v in enumerate(values)]


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        (
            drift(0.1, 0.5),
            "1 of 2 features looks unlike training, most of all f1 (PSI 0.50)",
        ),
        (
            drift(0.3, 0.5, 0.4, 0.26, 0.27, 0.0),
            (
                "5 of 6 features look unlike training, most of all f1 (PSI 0.50), f2 (PSI 0.40), "
                "f0 (PSI 0.30), f4 (PSI 0.27) …"
            ),
        ),
        (
            [Finding("score_drift", "score", 0.41, 0.25, 5120)],
            (
                "The scores look unlike those at training: PSI 0.41 over 5,120 payments; "
                "accepted: up to 0.25"
            ),
        ),
        (
            degraded_findings(2000, 64),
            "3.2% of 2,000 payments were decided without the full model; accepted: up to 1%",
        ),
    ],
)
def test_messages_are_for_people(findings: list[Finding], text: str) -> None:
    """A message says how much of what is out of order, the strongest first."""
    assert message(findings) == text
