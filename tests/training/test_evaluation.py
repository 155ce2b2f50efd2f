from __future__ import annotations

import numpy as np
from small_world import World

from assay.records import DAY_MS
from assay.training.evaluation import NEVER, evaluate_parts, first_reports
from assay.training.split import time_split


def test_first_report_of_a_card() -> None:
    """Each row gets the earliest fraud report of its card, or never."""
    card = np.array([5, 5, 9, 9, 2, 11], np.uint64)
    fraud = np.array([1, 1, 0, 1, -1, 0], np.int8)
    reported = np.array([30, 20, 1, 40, 0, 0])
    got = first_reports(card, fraud, reported, np.arange(6))
    assert got.tolist() == [20, 20, 40, 40, NEVER, NEVER]


def test_perfect_scores_are_perfect_and_every_figure_is_finite(world: World) -> None:
    """Scores equal to the truth give 1 everywhere that 1 is best, and 0 error."""
    scored = np.ones(len(world.events), bool)
    times = world.events["event_time"]
    split = time_split(times, world.fraud, world.reported_ms, scored, label_delay_ms=7 * DAY_MS)
    scores = {part.name: part.fraud.astype(np.float32) for part in split.parts}
    reports = first_reports(world.events["card"], world.fraud, world.reported_ms, split.test.rows)
    out = evaluate_parts(split, scores, world.events, reports, seed=0)
    assert out["test"]["average_precision"] == 1
    assert out["test"]["roc_auc_95"] == [1, 1]
    assert out["test"]["calibration_error"] == out["test"]["brier"] == 0
    assert out["train"] == {"average_precision": 1, "roc_auc": 1}
    assert 0 < out["test"]["card_precision_at_100"] < 1
