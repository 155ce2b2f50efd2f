"""What a scorer is built from."""

from __future__ import annotations

from dataclasses import replace

from assay.bootstrap.features import state_snapshots
from assay.bootstrap.scorer import _checked_position, build_scorer
from assay.clock import SystemClock
from assay.features.snapshots import Mark
from assay.simulation.scenario import Scenario


def test_only_a_snapshot_that_fits_excuses_damage(scenario: Scenario) -> None:
    """The journal is checked from the newest snapshot on that it continues: one with events that a
    cut took away is of no use to recovery, and excuses nothing.
    """
    workspace, clock = scenario.workspace, SystemClock()
    marks = []
    for _ in range(3):
        scorer = build_scorer(workspace)
        ledger = scorer.ledger
        marks.append(
            Mark(
                stream=ledger.name,
                position=ledger.position,
                next_arrival=ledger.next_arrival,
                arrival_ms=ledger.last_arrival_ms,
                rows=0,
                base=scorer.base,
            )
        )
        ledger.close()
    snapshots, features = state_snapshots(workspace), scorer.scoring.features
    spoiled = replace(marks[1], next_arrival=marks[1].next_arrival + 5)
    snapshots.write(scorer.fold, spoiled)
    assert _checked_position(workspace, features, clock) == 0
    snapshots.write(scorer.fold, marks[0])
    assert _checked_position(workspace, features, clock) == marks[0].position
    snapshots.write(scorer.fold, marks[1])
    assert _checked_position(workspace, features, clock) == marks[1].position
