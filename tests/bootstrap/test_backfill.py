from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from decided import decide_all
from typer.testing import CliRunner

from assay.bootstrap.backfill import backfill
from assay.bootstrap.features import restore_fold, state_snapshots, workspace_features
from assay.bootstrap.scorer import build_scorer
from assay.cli.features import app
from assay.clock import VirtualClock
from assay.errors import JournalError
from assay.journal.follower import Follower
from assay.simulation.scenario import Scenario
from assay.workspace import Workspace

NOW_MS = 1_780_272_001_000
NEW_WINDOW = """
from assay.features.default_set import PAYMENT, default_features
from assay.features.definitions import Count, FeatureSet

features = FeatureSet((
    *default_features().features,
    Count(name="fresh", entity="card", window_ms=300_000, where=PAYMENT, description="New."),
))
"""


@pytest.fixture(scope="module")
def decided(trained: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with decisions and no snapshot: never changed."""
    folder = tmp_path_factory.mktemp("decided") / "workspace"
    shutil.copytree(trained.workspace.path, folder)
    workspace = Workspace.open(folder)
    decide_all(workspace, trained.bodies()[:200], VirtualClock(NOW_MS))
    return workspace


@pytest.fixture
def workspace(decided: Workspace, tmp_path: Path) -> Workspace:
    """A copy that a test may change."""
    folder = tmp_path / "workspace"
    shutil.copytree(decided.path, folder)
    return Workspace.open(folder)


def test_a_start_after_a_backfill_folds_nothing_again(workspace: Workspace) -> None:
    """The snapshot is the state that the scorer has, and its next start goes on from there."""
    done = backfill(workspace)
    assert done["folded"] > 100_000  # the history too
    scorer = build_scorer(workspace, clock=VirtualClock(NOW_MS + 60_000))
    try:
        assert scorer.snapshot == {"position": done["position"], "replayed": 0}
        assert scorer.engine._features.digest() == done["state"]  # type: ignore[attr-defined]
    finally:
        scorer.ledger.close()


def test_a_second_backfill_goes_on_from_the_first(workspace: Workspace) -> None:
    """What a snapshot holds already is not folded again, and the state is the same."""
    first = backfill(workspace, clock=VirtualClock(1))
    second = backfill(workspace, clock=VirtualClock(2))
    assert second["folded"] == 0
    assert second["from_position"] == first["position"]
    assert second["state"] == first["state"]
    assert second["snapshot"] is None, "a copy of it would only push the older one out"


def test_new_features_are_folded_beside_the_old_ones(workspace: Workspace) -> None:
    """With other features in force the verb leaves a snapshot for them, and keeps the old one."""
    backfill(workspace)
    (workspace.path / "features.py").write_text(NEW_WINDOW, encoding="utf-8")
    shutil.rmtree(workspace.models)
    done = CliRunner().invoke(app, ["backfill", "--workspace", str(workspace.path), "--json"])
    assert done.exit_code == 0, done.output
    told = msgspec.json.decode(done.stdout.strip().splitlines()[-1])
    assert told["features_of"] == "features.py"
    assert len(list(workspace.state.iterdir())) == 2
    assert state_snapshots(workspace).prune() == []
    stream = Follower(workspace.journal).stream
    found = restore_fold(workspace, workspace_features(workspace), stream, told["position"])
    assert found is not None
    assert found[0].digest() == told["state"]


def test_an_empty_journal_needs_no_backfill(workspace: Workspace) -> None:
    """Before the first start there is nothing to go on from, and the verb says so."""
    shutil.rmtree(workspace.journal)
    with pytest.raises(JournalError, match="is empty"):
        backfill(workspace)
