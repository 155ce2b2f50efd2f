"""From import to the second version: a real scorer decides in between, and labels come late."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from assay.bootstrap.data import data_report, find_data
from assay.bootstrap.door import internal_key
from assay.bootstrap.features import make_fold, workspace_features
from assay.bootstrap.training import read_learning, train_model
from assay.clock import SystemClock
from assay.datasets.stream_table import StreamTable
from assay.datasets.stream_view import StreamView, read_stream
from assay.errors import DatasetError, OwnerError
from assay.journal.follower import Follower
from assay.journal.stretch import decode_stretches
from assay.owner import Owner
from assay.records import DAY_MS, ResolvedLabel, Stretch
from assay.simulation.player import play
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import Scenario
from assay.training.train import TrainingResult
from assay.worker.scorer_client import ScorerClient
from assay.workspace import Workspace

LIVE_ROWS = 2_000


def follow(workspace: Workspace) -> list[Stretch]:
    """Bring what is new in the journal into the stream's table."""
    table = StreamTable(workspace.stream, lambda: None, SystemClock())
    follower = Follower(workspace.journal, table.position)
    stretches = decode_stretches(follower.read(), follower.position)
    table.follow(follower.stream)
    for stretch in stretches:
        table.take(stretch)
    table.flush(follower.position)
    return stretches


@dataclass
class Lived:
    """A workspace whose scorer has decided, and was told the truth about every payment."""

    workspace: Workspace
    first: str
    decided: list[Stretch]
    policy: bytes
    frauds: int

    @property
    def view(self) -> StreamView:
        return read_stream(self.workspace.stream)


@pytest.fixture(scope="module")
def lived(trained: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    folder = tmp_path_factory.mktemp("lived") / "workspace"
    shutil.copytree(trained.workspace.path, folder)
    workspace = Workspace.open(folder)
    truth = dict(trained.truth.iter_rows())
    with ScorerProcess(folder) as scorer:
        replies = play(scorer.url, trained.api_key, trained.bodies()[:LIVE_ROWS])
        assert {reply.status for reply in replies} == {200}
        decided = follow(workspace)
        labels = [
            ResolvedLabel(0, 0, n + 1, truth[name], int(event["event_time"][0]) + DAY_MS, event)
            for stretch in decided
            for n, name in enumerate(stretch.transaction_ids)
            for event in [stretch.batch.events[n : n + 1]]
        ]
        client = ScorerClient(lambda: scorer.url, internal_key(workspace))
        for start in range(0, len(labels), 500):
            client.submit(labels[start : start + 500])
        follow(workspace)
    (first,) = [path.name for path in workspace.models.iterdir()]
    frauds = sum(label.fraud for label in labels)
    return Lived(workspace, first, decided, workspace.policy.read_bytes(), frauds)


@pytest.fixture(scope="module")
def second(lived: Lived) -> TrainingResult:
    """The model that was trained on what came."""
    return train_model(lived.workspace)


def test_the_table_holds_what_was_decided_and_reported(lived: Lived) -> None:
    """Every decision and every label of the journal is in the table once."""
    assert (lived.view.rows, lived.view.label_rows) == (LIVE_ROWS, LIVE_ROWS)
    rows = lived.view.decisions(["transaction_id", "score", "action"])
    ids = [name for stretch in lived.decided for name in stretch.transaction_ids]
    scores = np.concatenate([stretch.batch.scores for stretch in lived.decided])
    assert rows["transaction_id"].to_list() == ids
    assert rows["score"].to_numpy().tobytes() == scores.tobytes()
    assert len(lived.view.labels()) == LIVE_ROWS


def test_training_sees_the_features_that_the_scorer_saw(lived: Lived) -> None:
    """Replaying imports and stream gives every decision its journalled features, bit for bit."""
    data = read_learning(lived.workspace)
    features = workspace_features(lived.workspace).available(data.fields, data.kinds)
    matrix = make_fold(lived.workspace, features).replay(data.events)
    journalled = np.concatenate([stretch.batch.features for stretch in lived.decided])
    assert data.stream_rows == len(journalled) == LIVE_ROWS
    assert matrix[-LIVE_ROWS:].tobytes() == journalled.tobytes()


def test_the_second_version_learns_from_the_stream(lived: Lived, second: TrainingResult) -> None:
    """It is a new version on a new snapshot, which says what it holds; the policy stays."""
    first = json.loads((lived.workspace.models / lived.first / "manifest.json").read_bytes())
    assert (lived.first, second.path.name) == ("boosting-0.1.0", "boosting-0.2.0")
    assert second.facts["feature_set"] == first["feature_set"]
    assert second.facts["dataset_snapshot"] != first["dataset_snapshot"]
    record = find_data(lived.workspace, second.facts["dataset_snapshot"])
    assert record["stream_rows"] == record["stream_labels"] == LIVE_ROWS
    assert record["rows"] == record["imported_rows"] + LIVE_ROWS
    before = find_data(lived.workspace, first["dataset_snapshot"])
    assert before["stream_rows"] == 0
    assert record["frauds"] == before["frauds"] + lived.frauds > before["frauds"]
    assert lived.workspace.policy.read_bytes() == lived.policy


def test_the_grids_reach_to_the_newest_row(lived: Lived, second: TrainingResult) -> None:
    """What drift is measured against ends with the stream, which the model was not fitted on."""
    grids = json.loads((second.path / "quantiles.json").read_bytes())
    times = lived.view.decisions(["event_time"])["event_time"]
    assert grids["format"] == 2
    assert grids["to_ms"] >= times.max() - DAY_MS
    assert set(grids["features"]) == set(second.facts["features"])


def test_the_report_tells_what_came_of_what(lived: Lived, second: TrainingResult) -> None:
    """Imports, stream, snapshots, feature sets and models are there, with their checksums."""
    report = data_report(lived.workspace)
    assert report["error"] is None
    (imported,) = report["imports"]
    assert imported["bytes"] > imported["rows"] > 0
    assert len(imported["sha256"]) == len(imported["source_sha256"]) == 64
    assert imported["mapping"]
    stream = report["stream"]
    assert (stream["rows"], stream["labels"]) == (LIVE_ROWS, LIVE_ROWS)
    assert sum(part["rows"] + part["labels"] for part in stream["parts"]) == 2 * LIVE_ROWS
    assert stream["first_ms"] < stream["last_ms"]
    names = [second.path.name, lived.first]
    assert [model["model"] for model in report["models"]] == names
    assert [snapshot["models"] for snapshot in report["snapshots"]] == [[name] for name in names]
    assert report["snapshots"][0]["imports"] == [imported["sha256"]]
    (features,) = report["feature_sets"]
    assert (features["models"], features["current"]) == (names, True)
    assert features["features"] == len(second.facts["features"])
    assert find_data(lived.workspace, "stream")["rows"] == LIVE_ROWS
    assert find_data(lived.workspace, imported["file"])["sha256"] == imported["sha256"]


def test_two_trainings_at_once_are_refused(lived: Lived) -> None:
    """While one trains, another says so, and changes nothing."""
    with (
        Owner(lived.workspace.run / "trainer", "trainer"),
        pytest.raises(OwnerError, match="another trainer is running"),
    ):
        train_model(lived.workspace)


def test_an_empty_workspace_has_an_empty_report(tmp_path: Path) -> None:
    """Without data every list is empty, and nothing is wrong."""
    report = data_report(Workspace.create(tmp_path / "w"))
    lists = {name: report[name] for name in ("imports", "snapshots", "feature_sets", "models")}
    assert all(found == [] for found in lists.values())
    assert (report["stream"], report["error"]) == (None, None)
    with pytest.raises(DatasetError, match="no snapshots or imports begin with 'stream'"):
        find_data(Workspace.open(tmp_path / "w"), "stream")


def test_a_damaged_part_leaves_the_rest(lived: Lived, second: TrainingResult) -> None:
    """Whatever is broken, the report says so and shows what is whole."""
    folder = lived.workspace.path.parent / "damaged"
    shutil.copytree(lived.workspace.path, folder)
    workspace = Workspace.open(folder)
    (workspace.stream / "manifest.json").write_bytes(b"{")
    (workspace.tables / "manifest.json").write_bytes(b"[1]")
    next(workspace.snapshots.glob("*.json")).write_bytes(b"")
    (workspace.models / lived.first / "manifest.json").write_bytes(b"{}")
    (folder / "features.py").write_text("nonsense")
    report = data_report(workspace)
    assert (report["imports"], report["stream"]) == ([], None)
    assert len(report["snapshots"]) == 1
    for text in ("of the stream's table", "of the table is damaged", "snapshots/", "features.py"):
        assert text in report["error"]
    errors = {model["model"]: bool(model["error"]) for model in report["models"]}
    assert errors == {second.path.name: False, lived.first: True}
    assert report["feature_sets"][0]["current"] is None
