"""``assay audit``: what a scorer over HTTP decided is shown, and comes out again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assay.bootstrap.training import train_model
from assay.simulation.player import play
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import Scenario
from assay.workspace import Workspace

ROWS = 300
FORGED = "Shop\x1b[2K\x1b]0;title\x07\r\nsame  True\u202e\u200b"


@pytest.fixture(scope="module")
def decided(trained: Scenario, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A workspace where a scorer decided, and one of its answers: never changed."""
    folder = tmp_path_factory.mktemp("decided") / "workspace"
    shutil.copytree(trained.workspace.path, folder)
    bodies = trained.bodies()[:ROWS]
    bodies[-1] = json.dumps(json.loads(bodies[-1]) | {"merchant_name": FORGED}).encode()
    with ScorerProcess(folder) as process:
        replies = play(process.url, trained.api_key, bodies, connections=8)
    return folder, dict(replies[-1].decision())


def audit(*arguments: str | Path, code: int = 0) -> str:
    """Run the verb; a person's progress is not read."""
    done = subprocess.run(
        [sys.executable, "-m", "assay", "audit", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code != 1 or done.stdout else done.stderr


def test_show_repeats_the_answer(decided: tuple[Path, dict]) -> None:
    """The answer is in it word for word, with the features and the tokenised transaction."""
    folder, answer = decided
    document = json.loads(audit("show", answer["decision_id"], "-w", folder, "--json"))
    assert {name: document[name] for name in answer} == answer
    assert document["transaction"]["card_id"].startswith("c1_")
    told = audit("show", answer["transaction_id"], "-w", folder)
    for part in (answer["decision_id"], answer["leaf"], "card_count_24h", "merchant_category"):
        assert part in told


def test_what_a_caller_sent_cannot_forge_a_line(decided: tuple[Path, dict]) -> None:
    """Controls and line breaks in a transaction are shown, not obeyed; JSON gives them as sent."""
    folder, answer = decided
    told = audit("show", answer["transaction_id"], "-w", folder)
    said = r"Shop\x1b[2K\x1b]0;title\x07\x0d\x0asame  True\u202e\u200b"
    (line,) = (line for line in told.split("\n") if line.startswith("merchant_name "))
    assert line.endswith("  " + said)
    assert told.replace("\n", "").isprintable()
    document = json.loads(audit("show", answer["transaction_id"], "-w", folder, "--json"))
    assert document["transaction"]["merchant_name"] == FORGED


def test_replay_says_that_all_is_the_same(decided: tuple[Path, dict]) -> None:
    """One decision and all of them come out again, features too; the exit code is 0."""
    folder, answer = decided
    one = json.loads(audit("replay", answer["transaction_id"], "-w", folder, "--json"))
    assert (one["same"], one["decisions"]) == (True, 1)
    every = json.loads(audit("replay", "--range", "1..", "--features", "-w", folder, "--json"))
    assert (every["same"], every["bit_for_bit"]) == (True, ROWS)
    assert every["features"][0]["compared"] == ROWS
    assert "same" in audit("replay", "--range", "1..", "-w", folder)


@pytest.fixture
def copied(decided: tuple[Path, dict], tmp_path: Path) -> Path:
    """A copy of the workspace that a test may change."""
    shutil.copytree(decided[0], tmp_path / "workspace")
    return tmp_path / "workspace"


def test_a_difference_is_the_exit_code(decided: tuple[Path, dict], copied: Path) -> None:
    """A model that was trained again under the same name gives other scores: exit code 1, and
    the first difference is printed.
    """
    shutil.rmtree(copied / ".assay" / "models" / "boosting-0.1.0")
    trained = train_model(Workspace.open(copied), seed=8)
    assert trained.path.name == decided[1]["model"]
    found = json.loads(audit("replay", "--range", "1..", "-w", copied, "--json", code=1))
    assert not found["same"]
    assert found["first_difference"]["what"] == "score"
    told = audit("replay", "--range", "1..", "-w", copied, code=1)
    assert f"decision_id  {found['first_difference']['decision_id']}" in told
    assert f"recomputed   {found['first_difference']['recomputed']}" in told


def test_what_cannot_be_audited_is_one_line(decided: tuple[Path, dict], copied: Path) -> None:
    """A policy that is another than its name says, and an id that is nobody's: exit code 1."""
    (kept,) = (copied / ".assay" / "versions" / "policies").iterdir()
    kept.write_text(kept.read_text().replace("review = ", "review = 0.0"))
    said = audit("replay", decided[1]["decision_id"], "-w", copied, code=1)
    assert said.strip().splitlines()[-1].startswith("assay: ")
    assert kept.name in said
    assert "holds no decision" in audit("show", "nobody", "-w", copied, code=1)


def test_a_range_without_a_decision_is_an_error(decided: tuple[Path, dict]) -> None:
    """A mistyped range does not pass for an audit that found nothing wrong."""
    folder, _ = decided
    said = audit("replay", "--range", "99999999..", "-w", folder, code=1)
    assert "no decision lies in that range" in said
