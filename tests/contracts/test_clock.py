"""A machine's clock that is set under a running scorer: order, windows and ids stay as they are."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from assay.bootstrap.door import Door, make_encoder
from assay.bootstrap.features import make_fold
from assay.bootstrap.scorer import build_scorer, read_history
from assay.bootstrap.scoring import load_scoring
from assay.clock import VirtualClock
from assay.journal.decision_record import DecisionRecord, decode_decision
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.reader import read_journal
from assay.simulation.scenario import Scenario

NOW_MS = 1_780_272_000_000
HOUR_MS = 3_600_000


def decide_with_steps(scenario: Scenario, steps_ms: dict[int, int]) -> tuple[Any, Any, list[Any]]:
    """Decide 90 transactions, setting the clock before some; return the answers, those of repeats,
    and the records.
    """
    workspace, bodies = scenario.workspace, scenario.bodies()[:90]
    clock = VirtualClock(NOW_MS)
    scorer = build_scorer(workspace, clock=clock)
    door = Door(make_encoder(workspace), clock)

    async def main() -> tuple[list[bytes], list[bytes]]:
        scorer.engine.start(asyncio.get_running_loop())
        answers = []
        for i, body in enumerate(bodies):
            clock.time_ms += steps_ms.get(i, 5)
            answers.append(await scorer.engine.submit(*door.admit(body)))
        repeats = [scorer.engine.submit(*door.admit(body)) for body in bodies]
        assert all(isinstance(answer, bytes) for answer in repeats), "a repeat was decided anew"
        await asyncio.to_thread(scorer.engine.stop)
        return answers, repeats

    answers, repeats = asyncio.run(main())
    assert scorer.ledger.counts()["clock_steps"] == len(steps_ms)
    scorer.ledger.close()
    records: list[DecisionRecord] = [
        decode_decision(payload)
        for _, payload in read_journal(workspace.journal)
        if EntryHead.decode(payload).kind == EntryKind.decision
    ]
    return answers, repeats, records[-90:]


@pytest.mark.parametrize(
    "steps_ms",
    [{30: -HOUR_MS}, {30: 24 * HOUR_MS}, {20: 24 * HOUR_MS, 60: -24 * HOUR_MS}],
    ids=["back an hour", "forward a day", "there and back"],
)
def test_a_clock_that_is_set(scenario: Scenario, steps_ms: dict[int, int]) -> None:
    """Set back by an hour, forward by a day, or both: arrivals keep their order, events their
    flags and features, repeats their answers, and it is told.
    """
    answers, repeats, records = decide_with_steps(scenario, steps_ms)
    assert repeats == answers
    arrivals = [(record.arrival, record.arrival_ms) for record in records]
    assert arrivals == sorted(arrivals)
    events = np.concatenate([record.event for record in records])
    assert not events["flags"].any()

    fold = make_fold(scenario.workspace, load_scoring(scenario.workspace).features)
    fold.absorb(read_history(scenario.workspace, None).events)
    stored = np.stack([record.features for record in records])
    np.testing.assert_array_equal(stored, fold(events))
