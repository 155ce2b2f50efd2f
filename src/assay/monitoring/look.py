"""What the monitors find in a window of stream time: pure functions over counts."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from assay.monitoring.finding import Finding
from assay.monitoring.grids import ROWS_MIN, Counts, Grids

PSI_LEAST: Final = 0.25
"""What is commonly taken as a major shift (Siddiqi 2006)."""

DEGRADED_MAX: Final = 0.01
"""Accepted share of payments that were not decided by the full model."""

SHOWN: Final = 4
"""How many subjects a message names."""


def drift_thresholds(psi_day: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return from which PSI on a subject drifts, shape (f + 1,).

    A quarter, or more where the days of the reference already differ by more among themselves:
    one and a half times the most unlike of them, and 0.1 (what is commonly taken as a small
    shift). So what differs by nature, such as the weekday or the age of cards in a young
    portfolio, does not alert every day.
    """
    return np.maximum(PSI_LEAST, 1.5 * psi_day + 0.1)


def drift_findings(grids: Grids, counts: Counts) -> list[Finding]:
    """Return one finding for each feature and one for the score; none below 1,000 payments."""
    rows = int(counts[:-1].sum(axis=1).max(initial=0))
    if rows < ROWS_MIN:
        return []
    psi, thresholds = grids.psi(counts), drift_thresholds(grids.psi_day)
    monitors = ["feature_drift"] * (len(psi) - 1) + ["score_drift"]
    held = counts.sum(axis=1)
    return [
        Finding(monitor, subject, float(value), float(threshold), int(n))
        for monitor, subject, value, threshold, n in zip(
            monitors, grids.subjects, psi, thresholds, held, strict=True
        )
        if n >= ROWS_MIN
    ]


def degraded_findings(payments: int, degraded: int) -> list[Finding]:
    """Return the share of payments not in mode full; nothing below 1,000 payments."""
    if payments < ROWS_MIN:
        return []
    return [Finding("degraded", "payments", degraded / payments, DEGRADED_MAX, payments)]


def message(findings: list[Finding]) -> str:
    """Return what one monitor found, in words, the strongest subjects first.

    Parameters
    ----------
    findings : list of Finding
        All of one monitor, of which one at least is above its threshold.
    """
    strongest = sorted(findings, key=lambda finding: -finding.ratio)
    worst = strongest[0]
    if worst.monitor == "degraded":
        return (
            f"{worst.value:.1%} of {worst.rows:,} payments were decided without the full model; "
            f"accepted: up to {worst.threshold:.0%}"
        )
    if worst.monitor == "score_drift":
        return (
            f"The scores look unlike those at training: PSI {worst.value:.2f} over {worst.rows:,} "
            f"payments; accepted: up to {worst.threshold:.2f}"
        )
    drifting = [finding for finding in strongest if finding.ratio > 1]
    named = ", ".join(f"{each.subject} (PSI {each.value:.2f})" for each in drifting[:SHOWN])
    verb = "looks" if len(drifting) == 1 else "look"
    more = " …" if len(drifting) > SHOWN else ""
    return (
        f"{len(drifting)} of {len(findings)} features {verb} unlike training, "
        f"most of all {named}{more}"
    )
