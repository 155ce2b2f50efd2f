"""``assay dataset`` and what ``assay train`` says about its data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from assay.cli.app import app
from assay.errors import DatasetError
from assay.simulation.scenario import Scenario
from assay.workspace import Workspace


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "160"})


def test_list_shows_imports_snapshots_and_models(trained: Scenario) -> None:
    """A person sees each with its rows and checksum; a tool gets the whole report."""
    folder = trained.workspace.path
    shown = run("dataset", "list", "-w", folder).stdout
    report = json.loads(run("dataset", "list", "-w", folder, "--json").stdout)
    (imported,), (snapshot,) = report["imports"], report["snapshots"]
    for text in (imported["source"], imported["sha256"][:12], f"{trained.history_rows:,}"):
        assert text in shown
    assert (snapshot["snapshot"][:12] in shown, snapshot["models"]) == (True, ["boosting-0.1.0"])
    assert snapshot["rows"] == imported["rows"] == trained.history_rows
    assert report["stream"] is None


def test_show_tells_all_of_one(trained: Scenario) -> None:
    """The beginning of a checksum names an import or a snapshot; times are shown as dates."""
    folder = trained.workspace.path
    (imported,) = json.loads(run("dataset", "list", "-w", folder, "--json").stdout)["imports"]
    shown = run("dataset", "show", imported["sha256"][:8], "-w", folder).stdout
    assert imported["source_sha256"] in shown
    assert "2026-03-0" in shown
    found = json.loads(run("dataset", "show", imported["file"], "-w", folder, "--json").stdout)
    assert found == {"kind": "import"} | imported


@pytest.mark.parametrize("name", ["", "stream", "zz", "4111111111111111"])
def test_what_is_not_there_is_said(trained: Scenario, name: str) -> None:
    """An unknown name is an error that says what is accepted, and quotes no card number."""
    failed = run("dataset", "show", name, "-w", trained.workspace.path)
    assert isinstance(failed.exception, DatasetError)
    assert "accepted: stream, or the start of a checksum" in str(failed.exception)
    assert "4111" not in str(failed.exception)


def test_an_empty_workspace_says_what_to_do(tmp_path: Path) -> None:
    """Before anything is imported the list names the verb that imports."""
    Workspace.create(tmp_path / "w")
    shown = run("dataset", "list", "-w", tmp_path / "w")
    assert shown.exit_code == 0
    assert "assay import FILE --map MAPPING" in shown.stdout
