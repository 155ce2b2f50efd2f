from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay.bootstrap.create import create_workspace
from assay.bootstrap.door import create_api_key
from assay.journal.follower import Follower
from assay.journal.stretch import decode_stretches
from assay.records import LabelReport
from assay.simulation.process import ScorerProcess
from assay.workspace import Workspace

COMMAND = [sys.executable, "-m", "assay", "label", "--json", "-w"]
AT = 1_780_000_000_000


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = create_workspace(tmp_path / "w")
    create_api_key(workspace, "test")
    return workspace


def label(workspace: Workspace, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, str(workspace.path), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={name: value for name, value in os.environ.items() if name != "ASSAY_API_KEY"},
    )


def reports(workspace: Workspace) -> list[LabelReport]:
    follower = Follower(workspace.journal)
    records = follower.read(10**6)
    stretches = decode_stretches(records, follower.position)
    return [report for stretch in stretches for report in stretch.reports]


def test_a_file_with_duplicates_and_conflicts(workspace: Workspace, tmp_path: Path) -> None:
    """What is sound is reported once, the rest is counted and kept with its line and reason."""
    path = tmp_path / "labels.csv"
    rows = [f"t-{k},1,{AT + k}" for k in range(1_500)]
    rows += [f"t-0,true,{AT}", f"t-1,no,{AT + 1}", "t-2,perhaps,1", f"4111111111111111,1,{AT}"]
    path.write_text("order,bad,when\n" + "\n".join(rows) + "\n")
    names = ("--id", "order", "--fraud", "bad", "--reported-at", "when")
    with ScorerProcess(workspace.path, ["--rules-only"]):
        missing = label(workspace, path)
        done = label(workspace, path, *names)
    assert missing.returncode == 1
    assert "no column 'transaction_id'" in missing.stderr
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    letters = Path(result.pop("dead_letters")).read_text()
    assert sorted(json.loads(line)["line"] for line in letters.splitlines()) == [
        3,
        1503,
        1504,
        1505,
    ]
    assert "4111111111111111" not in letters + done.stdout + done.stderr
    reasons = result.pop("reasons")
    assert sum(reason["count"] for reason in reasons.values()) == 2
    assert result == {
        "read": 1_504,
        "reported": 1_499,
        "duplicates": 1,
        "conflicts": [3, 1503],
        "rejected": 2,
    }
    found = reports(workspace)
    assert len(found) == 1_499
    assert found[0].transaction_id == "t-0"
    assert (found[0].fraud, found[0].reported_ms) == (True, AT)


def test_without_a_scorer(workspace: Workspace, tmp_path: Path) -> None:
    """Without a running scorer it says so, and what to start."""
    path = tmp_path / "labels.csv"
    path.write_text(f"transaction_id,fraud,reported_at\nt-1,1,{AT}\n")
    done = label(workspace, path)
    assert done.returncode == 1
    assert "assay up" in done.stderr.splitlines()[-1]
