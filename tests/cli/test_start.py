"""What stops a start: each time one line that says what to do."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.clock import SystemClock
from assay.simulation.player import play
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import Scenario


def assay(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assay", *map(str, arguments)],
        input=stdin.decode(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def remove_models(workspace: Path) -> None:
    (workspace / ".assay" / "models").rename(workspace / "elsewhere")


def flip_a_bit_of_the_graph(workspace: Path) -> None:
    graph = next(workspace.glob(".assay/models/*/model.onnx"))
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)


def mistype_a_setting(workspace: Path) -> None:
    with (workspace / "assay.toml").open("a") as file:
        file.write("latenes_s = 10\n")


def change_a_window(workspace: Path) -> None:
    (workspace / "features.py").write_text(
        "from dataclasses import replace\n"
        "from assay.features.default_set import default_features\n"
        "from assay.features.definitions import FeatureSet\n"
        "features = FeatureSet(tuple(\n"
        "    replace(f, window_ms=f.window_ms + 1000) if f.name == 'card_count_24h' else f\n"
        "    for f in default_features().features\n"
        "))\n"
    )


def break_the_policy(workspace: Path) -> None:
    path = workspace / "policy.toml"
    path.write_text(path.read_text().replace("card_small_count_1h", "card_smal_count_1h"))


def remove_api_keys(workspace: Path) -> None:
    (workspace / ".assay" / "keys" / "api_keys.json").unlink()


def lose_the_token_key(workspace: Path) -> None:
    (workspace / ".assay" / "keys" / "token.key").unlink()


def swap_the_token_key(workspace: Path) -> None:
    (workspace / ".assay" / "keys" / "token.key").write_bytes(bytes(32))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lose_the_token_key, "token.key is missing"),
        (swap_the_token_key, "not the key of this workspace"),
        (remove_models, "assay train"),
        (flip_a_bit_of_the_graph, "model.onnx"),
        (mistype_a_setting, "did you mean lateness_s"),
        (change_a_window, "features.py"),
        (break_the_policy, "card_small_count_1h"),
        (remove_api_keys, "key"),
    ],
)
def test_a_spoiled_workspace_does_not_start(
    scenario: Scenario, spoil: Callable[[Path], None], said: str
) -> None:
    """A missing or damaged part stops the start with one line that says what to do."""
    spoil(scenario.workspace.path)
    done = assay("serve", "-w", scenario.workspace.path, "--port", "0")
    lines = [line for line in done.stderr.splitlines() if line.startswith("assay:")]
    assert done.returncode == 1
    assert len(lines) == 1
    assert said in lines[0]
    assert "Traceback" not in done.stderr


def test_an_occupied_port_is_named(scenario: Scenario) -> None:
    """A port that is taken stops the start at once, before anything is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = assay("serve", "-w", scenario.workspace.path, "--port", str(port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr


def test_two_scorers_cannot_share_a_journal(scenario: Scenario) -> None:
    """A second scorer over the same workspace is refused while the first lives."""
    with ScorerProcess(scenario.workspace.path):
        done = assay("serve", "-w", scenario.workspace.path, "--port", "0")
    assert done.returncode == 1
    assert "in use by another scorer" in done.stderr


def test_day_one_without_history_or_labels(tmp_path: Path) -> None:
    """A new workspace decides by rules at once: nothing imported, nothing trained."""
    made = assay("init", tmp_path / "w", "--json")
    key = json.loads(made.stdout)["api_key"]
    body = json.dumps(
        {
            "transaction_id": "first",
            "event_time": SystemClock().now_ms(),
            "card_id": "c",
            "amount_minor": 100,
            "currency": "EUR",
        }
    ).encode()
    with ScorerProcess(tmp_path / "w", ["--rules-only"]) as process:
        decision = play(process.url, key, [body])[0].decision()
    assert decision["mode"] == "rules"
    assert decision["action"] == "review"


def test_history_that_comes_too_late_is_told(scenario: Scenario, tmp_path: Path) -> None:
    """Rows imported after the scorer's stream began are not in its windows, and it says so."""
    folder = scenario.workspace.path
    with ScorerProcess(folder):
        pass
    more = tmp_path / "more.jsonl"
    more.write_text(
        '{"id": "late-1", "when": 1700000000000, "card": "c", "shop": "s", "amount": "1.00"}\n'
    )
    mapping = tmp_path / "more.toml"
    mapping.write_text(
        '[fields]\ntransaction_id = "id"\ncard_id = "card"\nmerchant_id = "shop"\n'
        'event_time = { column = "when", unit = "ms" }\n'
        'amount_minor = { column = "amount", unit = "major" }\ncurrency = { constant = "EUR" }\n'
    )
    done = assay("import", more, "--map", mapping, "-w", folder)
    assert done.returncode == 0
    assert "1 imported rows are not in the scorer's windows" in " ".join(done.stderr.split())
    with ScorerProcess(folder) as process:
        assert process.ready["recovered"] == 0


def test_no_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    """A folder without assay.toml is no workspace, and the message names the verb."""
    done = assay("train", "-w", tmp_path)
    assert done.returncode == 1
    assert "assay init" in done.stderr


def test_a_clean_stop_leaves_nothing_to_repair(scenario: Scenario) -> None:
    """SIGTERM ends with exit code 0, and the next start has nothing to cut off."""
    with ScorerProcess(scenario.workspace.path) as process:
        assert process.stop() == 0
    with ScorerProcess(scenario.workspace.path) as process:
        assert process.ready["cut_bytes"] == 0
