"""What survives kill -9: every acknowledged decision, the feature state, and the answers."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.bootstrap.features import make_fold, state_snapshots
from assay.bootstrap.scorer import build_scorer, read_history
from assay.bootstrap.scoring import load_scoring
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import DecisionRecord, decode_decision
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.reader import read_journal
from assay.simulation.player import Reply, play
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import Scenario
from assay.workspace import Workspace

Frequent = Callable[[Path], None]


def run_until_killed(
    workspace: Workspace, key: str, bodies: list[bytes], delay_s: float
) -> tuple[list[Reply], dict[str, Any]]:
    """Send bodies to a new scorer and kill it at a moment of its own; return what came back, and
    what it said when it was ready.
    """
    process = ScorerProcess(workspace.path)
    killer = threading.Timer(delay_s, process.kill)
    killer.start()
    replies = play(process.url, key, bodies)
    killer.join()
    return replies, process.ready


def decisions(folder: Path) -> tuple[str, dict[str, DecisionRecord]]:
    """Return the stream's base snapshot and the records by transaction id, none twice."""
    base, found, arrivals = "", {}, [0]
    for _, payload in read_journal(folder):
        head = EntryHead.decode(payload)
        assert head.arrival == arrivals[-1] + 1 or len(arrivals) == 1, "an arrival is missing"
        arrivals.append(head.arrival)
        if head.kind == EntryKind.boot:
            base = base or BootRecord.decode(payload).dataset
        if head.kind == EntryKind.decision:
            record = decode_decision(payload)
            assert record.transaction_id not in found, "a transaction was decided twice"
            found[record.transaction_id] = record
    return base, found


def check_features(workspace: Workspace) -> str:
    """Check the journalled features against an uninterrupted fold; return its state hash."""
    base, journalled = decisions(workspace.journal)
    events = np.concatenate([record.event for record in journalled.values()])
    fold = make_fold(workspace, load_scoring(workspace).features)
    fold.replay(read_history(workspace, base).events)
    uninterrupted = fold(events)
    stored = np.stack([record.features for record in journalled.values()])
    np.testing.assert_array_equal(stored, uninterrupted)
    return fold.digest()


def recovered_state(workspace: Workspace) -> tuple[str, dict[str, int] | None]:
    """Return the state hash of a scorer that recovers now, and the snapshot it used."""
    scorer = build_scorer(workspace)
    scorer.ledger.close()
    return scorer.fold.digest(), scorer.snapshot


def check_survival(
    scenario: Scenario, launch: Any, kills: int, seed: int, worker_kills: float
) -> None:
    """Kill the scorer `kills` times under load while a worker, which is killed now and then, takes
    snapshots and seals segments.
    """
    print(f"seed {seed}")  # noqa: T201
    rng = random.Random(seed)
    workspace, key, bodies = scenario.workspace, scenario.api_key, scenario.bodies()
    acknowledged: dict[str, bytes] = {}
    used: list[dict[str, int] | None] = []
    worker = launch(workspace.path, "worker")
    at = 0
    for _ in range(kills):
        if rng.random() < worker_kills:
            worker.kill()
            worker = launch(workspace.path, "worker")
        # Some of what was sent before goes again: a payment system repeats what it lost.
        part = bodies[max(0, at - 40) : at + 1500]
        replies, ready = run_until_killed(workspace, key, part, rng.uniform(0.02, 0.45))
        used.append(ready["snapshot"])
        for reply in replies:
            if reply.status == 200:
                name = reply.decision()["transaction_id"]
                assert acknowledged.setdefault(name, reply.body) == reply.body
            else:
                assert reply.status == 0, reply
        at += sum(reply.status == 200 for reply in replies)
    assert len(acknowledged) > 20 * kills
    assert worker.stop() == 0
    print(f"{sum(map(bool, used))} of {kills} starts from a snapshot")  # noqa: T201

    _, journalled = decisions(workspace.journal)
    assert acknowledged.keys() <= journalled.keys(), "an acknowledged decision is lost"
    digest, _ = recovered_state(workspace)
    assert digest == check_features(workspace)

    by_name = dict(zip(scenario.live["transaction_id"].to_list(), bodies, strict=True))
    again = rng.sample(sorted(acknowledged), min(300, len(acknowledged)))
    with ScorerProcess(workspace.path) as process:
        assert process.ready["recovered"] == len(journalled)
        replies = play(process.url, key, [by_name[name] for name in again])
    assert [reply.body for reply in replies] == [acknowledged[name] for name in again]


def test_nothing_acknowledged_is_lost(scenario: Scenario, launch: Any, frequent: Frequent) -> None:
    """After kill -9 under load, all that was answered is in the journal once, features and state
    equal an uninterrupted run bit for bit, and a repeat gets the same bytes.
    """
    frequent(scenario.workspace.path)
    check_survival(scenario, launch, kills=4, seed=1, worker_kills=0.0)


@pytest.mark.faults
@pytest.mark.parametrize("seed", [11, 12])
def test_nothing_acknowledged_is_lost_in_a_kill_loop(
    scenario: Scenario, launch: Any, frequent: Frequent, seed: int
) -> None:
    """The same over a dozen kills at random moments, twice, the worker killed now and then."""
    frequent(scenario.workspace.path)
    check_survival(scenario, launch, kills=12, seed=seed, worker_kills=0.3)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_in_fifty_kills(
    scenario: Scenario, launch: Any, frequent: Frequent
) -> None:
    """The same over fifty kills."""
    frequent(scenario.workspace.path)
    check_survival(scenario, launch, kills=50, seed=2, worker_kills=0.2)


def damage(path: Path) -> None:
    """Turn a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_damaged_snapshots_cost_time_alone(
    scenario: Scenario, launch: Any, frequent: Frequent
) -> None:
    """With the newest snapshot damaged the older one is used, with all of them damaged none: the
    state is the same, bit for bit.
    """
    workspace, bodies = Workspace.open(scenario.workspace.path), scenario.bodies()
    frequent(workspace.path)
    worker = launch(workspace.path, "worker")
    scorer = launch(workspace.path)
    at = 0
    while len(snapshots := sorted_snapshots(workspace)) < 2:
        assert at < 9000, "no snapshots were taken"
        play(scorer.url, scenario.api_key, bodies[at : at + 600])
        at += 600
    assert worker.stop() == 0
    assert scorer.stop() == 0
    expected = check_features(workspace)
    used: list[dict[str, int] | None] = []
    for spoiled in [None, *snapshots]:
        if spoiled is not None:
            damage(max(spoiled.rglob("*"), key=lambda path: path.stat().st_size))
        digest, snapshot = recovered_state(workspace)
        assert digest == expected
        used.append(snapshot)
    newest, older, *_, nothing = used
    assert newest is not None
    assert older is not None
    assert older["replayed"] > newest["replayed"]
    assert older["position"] < newest["position"]
    assert nothing is None


def sorted_snapshots(workspace: Workspace) -> list[Path]:
    """Return the folders of the snapshots that a scorer could use, newest first."""
    settings = workspace.settings
    stream = next(iter(read_journal(workspace.journal)), None)
    if stream is None:
        return []
    from assay.journal.follower import Follower

    usable = state_snapshots(workspace).usable(
        load_scoring(workspace).features,
        lateness_ms=settings.lateness_s * 1000,
        entities_max=settings.entities_max,
        events_max=settings.entity_events_max,
        stream=Follower(workspace.journal).stream,
    )
    return [snapshot.path for snapshot in usable]
