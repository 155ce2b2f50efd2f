from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.bootstrap.create import create_workspace
from assay.bootstrap.scorer import runtime_digest
from assay.workspace import Workspace


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ({"worker_port": 9}, False),
        ({"port": 9, "host": "0.0.0.0"}, False),
        ({"sync_standby": "b:8689"}, False),
        ({"disk_reserve_mb": 9, "snapshot_s": 9}, False),
        ({"lateness_s": 9}, True),
        ({"entities_max": 9000}, True),
        ({"reference_currency": "USD"}, True),
    ],
)
def test_only_what_decides_is_in_the_runtime(
    tmp_path: Path, setting: dict[str, Any], changes: bool
) -> None:
    """A worker with a port of its own, or a standby, has the runtime of the scorer; another way
    of computing has another.
    """
    workspace = create_workspace(tmp_path / "w")
    other = Workspace.open(workspace.path, **setting)
    assert (runtime_digest(other) != runtime_digest(workspace)) == changes
