"""What survives kill -9: every acknowledged decision, the feature state, and the answers."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest

from assay.bootstrap.features import make_fold
from assay.bootstrap.scorer import read_history
from assay.bootstrap.scoring import load_scoring
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import decode_decision
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.reader import read_journal
from assay.simulation.player import Reply, play
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import Scenario
from assay.workspace import Workspace


def run_until_killed(
    workspace: Workspace, key: str, bodies: list[bytes], delay_s: float
) -> list[Reply]:
    """Send bodies to a new scorer and kill it at a moment of its own; return what came back."""
    process = ScorerProcess(workspace.path)
    killer = threading.Timer(delay_s, process.kill)
    killer.start()
    replies = play(process.url, key, bodies)
    killer.join()
    return replies


def decisions(folder: Path) -> tuple[str, dict[str, object]]:
    """Return the stream's base snapshot and the records by transaction id, none twice."""
    base, found = "", {}
    for _, payload in read_journal(folder):
        if EntryHead.decode(payload).kind == EntryKind.boot:
            base = base or BootRecord.decode(payload).dataset
            continue
        record = decode_decision(payload)
        assert record.transaction_id not in found, "a transaction was decided twice"
        found[record.transaction_id] = record
    return base, found


def check_survival(scenario: Scenario, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    workspace, key, bodies = scenario.workspace, scenario.api_key, scenario.bodies()
    acknowledged: dict[str, bytes] = {}
    at = 0
    for _ in range(kills):
        # Some of what was sent before goes again: a payment system repeats what it lost.
        part = bodies[max(0, at - 40) : at + 1500]
        replies = run_until_killed(workspace, key, part, rng.uniform(0.02, 0.45))
        for reply in replies:
            if reply.status == 200:
                name = reply.decision()["transaction_id"]
                assert acknowledged.setdefault(name, reply.body) == reply.body
            else:
                assert reply.status == 0, reply
        at += sum(reply.status == 200 for reply in replies)
    assert len(acknowledged) > 20 * kills

    base, journalled = decisions(workspace.journal)
    assert acknowledged.keys() <= journalled.keys(), "an acknowledged decision is lost"

    arrivals = [record.arrival for record in journalled.values()]
    assert arrivals == sorted(set(arrivals)), "arrival numbers repeat or run backwards"
    events = np.concatenate([record.event for record in journalled.values()])
    fold = make_fold(workspace, load_scoring(workspace).features)
    fold.replay(read_history(workspace, base).events)
    uninterrupted = fold(events)
    stored = np.stack([record.features for record in journalled.values()])
    np.testing.assert_array_equal(stored, uninterrupted)

    by_name = dict(zip(scenario.live["transaction_id"].to_list(), bodies, strict=True))
    again = rng.sample(sorted(acknowledged), min(300, len(acknowledged)))
    with ScorerProcess(workspace.path) as process:
        assert process.ready["recovered"] == len(journalled)
        replies = play(process.url, key, [by_name[name] for name in again])
    assert [reply.body for reply in replies] == [acknowledged[name] for name in again]


def test_nothing_acknowledged_is_lost(scenario: Scenario) -> None:
    """After kill -9 under load, all that was answered is in the journal, features equal an
    uninterrupted run bit for bit, and a repeat gets the same bytes.
    """
    check_survival(scenario, kills=4, seed=1)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_in_fifty_kills(scenario: Scenario) -> None:
    """The same over fifty kills at random moments."""
    check_survival(scenario, kills=50, seed=2)
