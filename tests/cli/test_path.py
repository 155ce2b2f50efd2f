"""The path as a user walks it, verb by verb, on a file of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import Scenario


def assay(*arguments: str | Path, stdin: str = "", code: int = 0) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "assay", *map(str, arguments), "--json"],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == code, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


MAPPING = """
[fields]
transaction_id = "id"
event_time = { column = "when", unit = "ms" }
card_id = "card"
merchant_id = "shop"
amount_minor = { column = "amount", unit = "major" }
currency = { constant = "EUR" }

[label]
column = "bad"
delay_days = 3
"""


@pytest.fixture
def own_file(trained: Scenario, tmp_path: Path) -> Path:
    """A user's CSV: a few columns under names of their own, no device, no place."""
    path = tmp_path / "payments.csv"
    frame = trained.live.join(trained.truth, on="transaction_id").filter(
        pl.col("amount_minor").is_not_null(), pl.col("currency") == "EUR"
    )
    frame.select(
        id="transaction_id",
        when="event_time",
        card="card_id",
        shop="merchant_id",
        amount=pl.format(
            "{}.{}",
            pl.col("amount_minor") // 100,
            (pl.col("amount_minor") % 100).cast(pl.String).str.zfill(2),
        ),
        bad=pl.col("fraud").cast(pl.Int8),
    ).write_csv(path)
    return path


def test_own_data_from_file_to_report(own_file: Path, tmp_path: Path) -> None:
    """Init and import take a user's CSV, count what is wrong with it, and lose nothing."""
    workspace = tmp_path / "w"
    made = assay("init", workspace)
    assert str(made["api_key"]).startswith("ak_")
    mapping = tmp_path / "payments.toml"
    mapping.write_text(MAPPING)
    with own_file.open("a") as file:
        file.write("x-1,not a time,card-1,shop-1,1.00,0\n")
        file.write("x-2,1700000000000,card-1,4111111111111111,1.00,0\n")
        file.write("x-3,1700000000000,card-1,shop-1,-1.00,0\n")
    report = assay("import", own_file, "--map", mapping, "-w", workspace)
    rows = len(pl.read_csv(own_file, ignore_errors=True))
    assert report["read"] == rows
    assert report["rejected"] == 3
    assert report["accepted"] == rows - 3
    letters = Path(str(report["dead_letters"])).read_text()
    assert len(letters.splitlines()) == 3
    assert "4111111111111111" not in letters
    again = assay("import", own_file, "--map", mapping, "-w", workspace)
    assert again["accepted"] == 0
    assert again["duplicates"] == rows - 3


def test_features_over_absent_fields_are_absent(scenario: Scenario, own_file: Path) -> None:
    """A file without devices and places trains a model without their features, not with zeros."""
    from assay.bootstrap.features import workspace_features
    from assay.datasets.table import TransactionTable

    mapping = own_file.with_suffix(".toml")
    mapping.write_text(MAPPING)
    folder = own_file.parent / "bare"
    assay("init", folder)
    assay("import", own_file, "--map", mapping, "-w", folder)
    history = TransactionTable(folder / ".assay" / "tables" / "transactions").read()
    kinds = frozenset(history.events["kind"].tolist())
    names = workspace_features(scenario.workspace).available(history.fields, kinds).names
    assert "card_count_24h" in names
    assert not [n for n in names if "device" in n or "km" in n or "country" in n or "login" in n]


def test_decide_shows_what_the_scorer_would_answer(scenario: Scenario) -> None:
    """Assay decide gives the action and score of the running scorer, and records nothing."""
    from assay.bootstrap.features import workspace_features
    from assay.simulation.player import play

    bodies = scenario.bodies()
    with ScorerProcess(scenario.workspace.path) as process:
        play(process.url, scenario.api_key, bodies[:200], connections=1)
        looked = assay("decide", "-w", scenario.workspace.path, stdin=bodies[200].decode())
        twice = assay("decide", "-w", scenario.workspace.path, stdin=bodies[200].decode())
        real = play(process.url, scenario.api_key, [bodies[200]])[0].decision()
    assert looked == twice
    assert looked["score"] == real["score"]
    assert looked["action"] == real["action"]
    assert len(looked["features"]) == len(workspace_features(scenario.workspace).names)


def test_results_are_told_to_people_too(scenario: Scenario, own_file: Path) -> None:
    """Without --json a person gets short tables: counts, reasons, the model's worth, features."""

    def tell(*arguments: str | Path, stdin: bytes = b"") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "assay", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    folder = scenario.workspace.path
    mapping = own_file.with_suffix(".toml")
    mapping.write_text(MAPPING)
    with own_file.open("a") as file:
        file.write("x-1,not a time,card-1,shop-1,1.00,0\n")
    imported = tell("import", own_file, "--map", mapping, "-w", folder)
    assert "rejected" in imported
    assert "event_time: got a value that cannot be read" in " ".join(imported.split())
    trained = tell("train", "-w", folder)
    assert "boosting-0.2.0" in trained
    assert "average precision" in trained
    assert "precision  recall" in trained
    looked = tell("decide", "-w", folder, "--model", "boosting-0.1.0", stdin=scenario.bodies()[0])
    assert "card_count_24h" in looked


def test_rules_alone_decide_without_a_model(scenario: Scenario) -> None:
    """Without a model every payment is answered by the rules rung, and says so."""
    from assay.simulation.player import play

    with ScorerProcess(scenario.workspace.path, ["--rules-only"]) as process:
        replies = play(process.url, scenario.api_key, scenario.bodies()[:50])
    payments = [d for d in (r.decision() for r in replies) if d["mode"] == "rules"]
    assert payments
    assert all(d["score"] is None and d["action"] != "approve" for d in payments)


def test_keys_are_made_and_revoked(scenario: Scenario) -> None:
    """A new key opens the scorer at its next start; a revoked one does not."""
    from assay.simulation.player import play

    folder = scenario.workspace.path
    secret = str(assay("key", "create", "second", "-w", folder)["api_key"])
    body = scenario.bodies()[0]
    with ScorerProcess(folder) as process:
        assert play(process.url, secret, [body])[0].status == 200
    assert secret not in (folder / ".assay" / "keys" / "api_keys.json").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "assay", "key", "revoke", "second", "-w", str(folder)], check=False
    )
    assert done.returncode == 0
    with ScorerProcess(folder) as process:
        assert play(process.url, secret, [body])[0].status == 401
