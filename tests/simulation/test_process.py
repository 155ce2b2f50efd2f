from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import UnavailableError
from assay.simulation.process import ScorerProcess, UpProcess
from assay.simulation.scenario import Scenario
from assay.workspace import Workspace


@pytest.mark.parametrize("process", [ScorerProcess, UpProcess])
def test_what_does_not_start_says_why(
    process: type[ScorerProcess | UpProcess], tmp_path: Path
) -> None:
    """A process that ends instead of becoming ready is reported with its own last words."""
    workspace = Workspace.create(tmp_path)
    (workspace.path / "assay.toml").write_text("prot = 1\n")
    with pytest.raises(UnavailableError, match=r"did not start: .*'prot'"):
        process(workspace.path)


def test_up_tells_its_addresses(scenario: Scenario) -> None:
    """Scorer, worker and console listen on addresses of their own, and stop when told to."""
    with UpProcess(scenario.workspace.path, ("--auto-sign-in",)) as up:
        urls = {up.scorer, up.worker, up.console}
        assert len(urls) == 3
        assert all(url.startswith("http://127.0.0.1:") for url in urls)
        assert up.stop() == 0
