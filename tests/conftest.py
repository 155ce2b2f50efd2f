from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from assay.bootstrap.training import train_model
from assay.records import DAY_MS
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import Scenario, prepare
from assay.simulation.world_settings import WorldSettings
from assay.workspace import Workspace

END_MS = 1_780_272_000_000
"""When the world of the tests ends: 1 June 2026, so that every run has the same world."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """A workspace with history and a model, and live transactions to play: never changed."""
    world = WorldSettings(
        seed=7,
        start_ms=END_MS - 90 * DAY_MS,
        end_ms=END_MS,
        customers=2_000,
        merchants=1_000,
        transactions=120_000,
    )
    scenario = prepare(tmp_path_factory.mktemp("trained") / "workspace", world, 12_000)
    train_model(scenario.workspace)
    return scenario


@pytest.fixture
def scenario(trained: Scenario, tmp_path: Path) -> Scenario:
    """A copy of the trained workspace that a test may change."""
    folder = tmp_path / "workspace"
    shutil.copytree(trained.workspace.path, folder)
    return replace(trained, workspace=Workspace.open(folder))


@pytest.fixture(scope="session")
def scorer(trained: Scenario, tmp_path_factory: pytest.TempPathFactory) -> ScorerProcess:
    """A running scorer over a copy of the trained workspace, shared by tests that only ask."""
    folder = tmp_path_factory.mktemp("shared") / "workspace"
    shutil.copytree(trained.workspace.path, folder)
    with ScorerProcess(folder) as process:
        yield process
