from __future__ import annotations

from pathlib import Path

import pytest

from assay.bootstrap.run import NAMES, address_of
from assay.simulation.scenario import Scenario
from assay.simulation.show import Scene, Show
from assay.simulation.stage import raise_curtain


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_it_plays_until_it_is_interrupted(scenario: Scenario) -> None:
    """Traffic, a second model and drift come by themselves; Ctrl-C stops every process."""
    scenes: list[Scene] = []
    said: list[str] = []
    pids: list[int] = []
    workspace = scenario.workspace

    def watch(scene: Scene) -> None:
        scenes.append(scene)
        both = any("second model is there" in text for text in said)
        if (both and any("pandemic" in text for text in said)) or len(scenes) > 90:
            raise KeyboardInterrupt

    def play() -> None:
        with raise_curtain(scenario, "boosting-0.1.0") as stage:
            pids.append(stage.up.pid)
            pids.extend(found.pid for name in NAMES if (found := address_of(workspace, name)))
            after = {"train_after_s": 1.0, "drift_after_s": 3.0}
            Show(stage, watch, said.append, first_rows=1_000, **after).run()

    with pytest.raises(KeyboardInterrupt):
        play()
    assert any("second model is there" in text for text in said)
    assert any("pandemic begins" in text for text in said)
    assert len(pids) == 4
    assert not any(is_running(pid) for pid in pids)
    assert scenes[-1].decisions > 1_000
    assert scenes[-1].errors == 0
    assert scenes[-1].labels > 0
    assert scenes[-1].world_ms > scenes[0].world_ms
    assert any(scene.model == "boosting-0.1.0" for scene in scenes)
    assert not (workspace.run / "demo.json").exists()
    assert len(list(workspace.models.glob("boosting-*"))) == 2
