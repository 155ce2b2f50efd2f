from __future__ import annotations

import logging
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from decided import decide_all

from assay.bootstrap.backfill import backfill
from assay.bootstrap.door import Door, make_encoder
from assay.bootstrap.scorer import RunningScorer, build_scorer
from assay.bootstrap.states import WorkspaceStates
from assay.clock import VirtualClock
from assay.errors import JournalError
from assay.features.snapshots import Snapshots
from assay.journal.folded import decode_folded
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.retention import drop_segments
from assay.journal.sealer import seal, sealable
from assay.records import EVENT
from assay.worker.keeper import Keeper
from assay.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[1] / "worker"))
from shop import TIME_MS, Shop

LATER_MS = TIME_MS + 200 * 86_400_000
PIECES = 4


def bodies(time_ms: int, first: int, count: int) -> list[bytes]:
    """Transactions of cards that the history knows, and of others."""
    return [
        msgspec.json.encode(
            {
                "transaction_id": f"t-{k}",
                "event_time": time_ms + k,
                "card_id": f"card-{k * 7 % 11}",
                "amount_minor": 100 + k,
                "currency": "EUR",
            }
        )
        for k in range(first, first + count)
    ]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace without a snapshot, whose journal has lost what is 200 days old."""
    workspace = Shop(tmp_path / "w").workspace
    decide_all(workspace, bodies(TIME_MS, 0, 20), VirtualClock(TIME_MS + 1000), rules_only=True)
    for k in (20, 40):
        clock = VirtualClock(LATER_MS + 1000)
        decide_all(workspace, bodies(LATER_MS, k, 20), clock, rules_only=True)
    journal = Folder(workspace.journal)
    for number in sealable(journal):
        seal(journal, number, clock)
    assert drop_segments(journal, LATER_MS, 1 << 60) == [1]
    return workspace


def start(workspace: Workspace) -> RunningScorer:
    return build_scorer(workspace, rules_only=True, clock=VirtualClock(LATER_MS + 2000))


def decide(workspace: Workspace, scorer: RunningScorer, first: int, count: int) -> None:
    """Decide, then journal what some pieces of the state are like."""
    clock, ledger = VirtualClock(LATER_MS + 3000), scorer.ledger
    door = Door(make_encoder(workspace), clock)
    rows = [door.admit(body) for body in bodies(LATER_MS, first, count)]
    batch = scorer.engine.decide(np.frombuffer(b"".join(r.event for r, _ in rows), EVENT).copy())
    digests = np.array([digest for _, digest in rows], np.uint64)
    ledger.commit([(ledger.boot, batch, [row.canonical for row, _ in rows], digests)])
    for piece in range(PIECES):
        ledger.commit([ledger.check(piece, scorer.fold.check(piece), clock.now_ms())])


def make_keeper(workspace: Workspace) -> Keeper:
    clock = VirtualClock(LATER_MS + 4000)
    return Keeper(
        WorkspaceStates(workspace, clock),
        lambda position, on_gap: Follower(workspace.journal, position, on_gap=on_gap),
        decode_folded,
        clock,
        snapshot_records=1,
        snapshot_s=0.0,
    )


def run(keeper: Keeper) -> dict[str, object]:
    keeper.turn()
    while keeper.turn():
        pass
    keeper._tell()
    return keeper.document


def test_pieces_of_a_state_from_a_rest_of_the_journal_wait_for_a_start(
    workspace: Workspace,
) -> None:
    """Features are compared at once; pieces once the scorer, too, goes on from such a snapshot."""
    scorer = start(workspace)
    backfill(workspace)
    decide(workspace, scorer, 150, 50)
    keeper = make_keeper(workspace)
    found = run(keeper)
    state = keeper._state
    assert state is not None
    assert any(state.fold.check(p) != scorer.fold.check(p) for p in range(PIECES))
    assert (found["mismatch"], found["checked_rows"], found["checks"]) == (None, 50, 0)
    assert "once the scorer is started again" in str(found["reason"])
    assert found["snapshot"] is not None
    scorer.ledger.close()
    scorer = start(workspace)
    assert scorer.snapshot is not None
    decide(workspace, scorer, 200, 20)
    # The one that went on, and one that begins now.
    for one in (keeper, make_keeper(workspace)):
        found = run(one)
        assert (found["mismatch"], found["reason"]) == (None, None)
    assert keeper.document["checks"] == PIECES
    decide(workspace, scorer, 220, 20)
    scorer.ledger.close()
    found = run(one)
    assert (found["mismatch"], found["checks"]) == (None, PIECES)


def test_a_snapshot_that_lies_before_a_gap_is_not_loaded(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it stands is looked at first: a state of gigabytes is not read to be thrown away."""
    caplog.set_level(logging.CRITICAL)
    position = backfill(workspace)["position"]
    loaded: list[int] = []
    load = Snapshots.load

    def told(self: Snapshots, snapshot: object, *args: object, **options: object) -> object:
        loaded.append(1)
        return load(self, snapshot, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Snapshots, "load", told)
    states = WorkspaceStates(workspace, VirtualClock(LATER_MS))
    with pytest.raises(JournalError, match="no snapshot of the feature state lies behind it"):
        states.begin(position + 1, lambda: False)
    assert loaded == []
    assert states.begin(position, lambda: False) is not None
    assert loaded == [1]
