from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from assay.bootstrap.lifecycle import (
    compare,
    models,
    promote,
    requested_model,
    rollback,
    show,
)
from assay.control.database import open_control
from assay.control.schema import LIVE, SWITCHES
from assay.errors import (
    AssayError,
    BundleError,
    CardNumberError,
    ControlError,
    PolicyError,
    ReleaseError,
)
from assay.lifecycle.rollout import Rollout
from assay.workspace import Workspace

A, B, C = "boosting-0.1.0", "boosting-0.2.0", "boosting-0.3.0"
Write = Callable[..., Path]
Start = Callable[..., Any]


def copy_switches(workspace: Workspace, *named: tuple[str, int]) -> None:
    """Write what the worker would copy from the journal: (model, revision), oldest first."""
    engine = open_control(workspace.control)
    facts = dict.fromkeys(("policy", "feature_set", "runtime"), "x")
    rows = [
        {"arrival": n, "at_ms": n * 10, "cause": "promote" if revision else "start"}
        | {"revision": revision, "model": model, **facts}
        for n, (model, revision) in enumerate(named, 1)
    ]
    with engine.begin() as connection:
        connection.execute(insert(SWITCHES), rows)
    engine.dispose()


def requests(workspace: Workspace) -> list[str]:
    engine = open_control(workspace.control)
    found = [request.model for request in Rollout(engine).last(9)]
    engine.dispose()
    return found


def test_an_empty_workspace_has_a_document(workspace: Workspace) -> None:
    """No database, no scorer, no models: the document is there, and reading made nothing."""
    assert models(workspace) == {
        "revision": 0,
        "live": None,
        "previous": None,
        "scorer": {"up": False, "since_ms": None, "url": None, "refused": None}
        | {"rules_only": False},
        "models": [],
        "switches": [],
    }
    assert not workspace.control.exists()


def test_the_document_says_what_is_live(workspace: Workspace, bundle: Write, start: Start) -> None:
    """Live, previous, candidate and retired follow from the scorer and from the switches."""
    for version in ("0.1.0", "0.2.0", "0.3.0", "0.10.0"):
        bundle(version)
    copy_switches(workspace, (A, 0), (B, 1), (C, 2))
    start(C, revision=2)
    document = models(workspace)
    assert {row["model"]: row["status"] for row in document["models"]} == {
        "boosting-0.10.0": "candidate",
        C: "live",
        B: "previous",
        A: "retired",
    }
    assert document["live"]["model"] == C
    assert document["live"]["since_ms"] == 30
    assert document["previous"] == B
    assert document["scorer"]["up"]
    assert [s["model"] for s in document["switches"]] == [C, B, A]
    assert msgspec.json.decode(msgspec.json.encode(document)) == document


def test_a_scorer_that_is_down_is_told_since_when(workspace: Workspace, bundle: Write) -> None:
    """With the scorer down the document keeps what it has, and says since when."""
    bundle("0.1.0")
    copy_switches(workspace, (A, 0))
    engine = open_control(workspace.control)
    with engine.begin() as connection:
        document = '{"up": false, "since_ms": 77}'
        connection.execute(insert(LIVE).values(name="scorer", document=document, updated_ms=99))
    engine.dispose()
    found = models(workspace)
    assert (found["scorer"]["up"], found["scorer"]["since_ms"]) == (False, 77)
    assert found["live"]["model"] == A
    assert found["models"][0]["status"] == "live"


def test_what_the_worker_did_not_see_is_not_told(workspace: Workspace) -> None:
    """A scorer that started again after the worker last looked is down since nobody knows when."""
    copy_switches(workspace, *[(A, 0)] * 9)
    engine = open_control(workspace.control)
    with engine.begin() as connection:
        document = '{"up": false, "since_ms": 77}'
        connection.execute(insert(LIVE).values(name="scorer", document=document, updated_ms=99))
    engine.dispose()
    assert models(workspace)["scorer"]["since_ms"] is None


def flip_signature(folder: Path) -> None:
    seal = folder / "signature"
    seal.write_bytes(bytes(64))


def lose_graph(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def change_graph(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"other")


def lose_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def add_file(folder: Path) -> None:
    (folder / "extra.pkl").write_bytes(b"")


def rename(folder: Path) -> None:
    folder.rename(folder.with_name(B))


@pytest.mark.parametrize("spoil", [flip_signature, lose_graph, lose_manifest])
def test_a_damaged_bundle_is_listed_with_its_error(
    workspace: Workspace, bundle: Write, spoil: Callable[[Path], None]
) -> None:
    """One damaged bundle has a row with the reason, and the others have theirs."""
    spoil(bundle("0.1.0"))
    bundle("0.2.0")
    sound, damaged = models(workspace)["models"]
    assert (sound["status"], sound["error"]) == ("candidate", None)
    assert (damaged["status"], damaged["model"]) == ("damaged", A)
    assert A in damaged["error"]


def test_a_damaged_database_leaves_the_models(workspace: Workspace, bundle: Write) -> None:
    """A control database that cannot be read is an error in the document, not a crash."""
    bundle("0.1.0")
    workspace.control.write_bytes(b"nonsense that is long enough " * 99)
    document = models(workspace)
    assert "control.sqlite" in document["error"]
    assert [row["model"] for row in document["models"]] == [A]
    with pytest.raises(ControlError):
        promote(workspace, A, "ana")


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize(
    "spoil", [flip_signature, lose_graph, lose_manifest, change_graph, add_file, rename]
)
def test_a_bad_bundle_is_refused_before_anything_is_written(
    workspace: Workspace, bundle: Write, start: Start, spoil: Callable[[Path], None], up: bool
) -> None:
    """Missing, damaged, unsigned or misnamed: refused with the reason, and nothing is asked."""
    folder = bundle("0.1.0")
    spoil(folder)
    if up:
        start(C)
    with pytest.raises(BundleError, match=r"boosting-0\.[12]\.0"):
        promote(workspace, B if spoil is rename else A, "ana")
    assert requests(workspace) == []


@pytest.mark.parametrize("name", ["boosting-9.9.9", "../w/.assay/models/x", "", ".draft"])
def test_an_unknown_model_is_refused(workspace: Workspace, bundle: Write, name: str) -> None:
    """Only names of bundles that are there are accepted, and the message lists them."""
    bundle("0.1.0")
    with pytest.raises(BundleError, match=r"accepted: boosting-0\.1\.0"):
        promote(workspace, name, "ana")


def test_other_features_are_refused(workspace: Workspace, bundle: Write, start: Start) -> None:
    """A model of another feature set than the scorer computes is refused by both names."""
    bundle("0.1.0")
    bundle("0.2.0", feature_set="ee" * 32, features=["amount"])
    start(A)
    with pytest.raises(ReleaseError, match="eeeeeeeeeeeeeeee") as caught:
        promote(workspace, B, "ana")
    assert "start it again" in str(caught.value)
    assert requests(workspace) == []


def test_a_policy_that_does_not_compile_is_refused(
    workspace: Workspace, bundle: Write, start: Start
) -> None:
    """The policy is part of the release: a wrong one is refused ahead of the request."""
    bundle("0.1.0")
    start(C)
    workspace.policy.write_text('version = "1"\n[thresholds]\nreview = 7.0\n')
    with pytest.raises(PolicyError):
        promote(workspace, A, "ana")
    assert requests(workspace) == []


def test_promotion_waits_until_it_is_live(
    workspace: Workspace, bundle: Write, start: Start
) -> None:
    """Promotion tells from which to which and how long it took, and the document follows."""
    bundle("0.1.0")
    bundle("0.2.0")
    start(A)
    result = promote(workspace, B, "ana")
    assert (result["from"], result["model"], result["revision"]) == (A, B, 1)
    assert result["live"]
    assert 0 < result["took_ms"] < 2_000
    document = models(workspace)
    assert document["live"]["model"] == B
    assert document["revision"] == 1


def test_rollback_finds_the_model_that_nobody_asked_for(
    workspace: Workspace, bundle: Write, start: Start
) -> None:
    """The first model came with a start; a rollback leads to it, a second one back again."""
    bundle("0.1.0")
    bundle("0.2.0")
    copy_switches(workspace, (A, 0))
    start(A)
    promote(workspace, B, "ana")
    assert rollback(workspace, "ben")["model"] == A
    assert rollback(workspace, "ben")["model"] == B
    assert requests(workspace) == [B, A, B]


def test_rollback_without_a_past_is_refused(
    workspace: Workspace, bundle: Write, start: Start
) -> None:
    """Where no other model was live there is nothing to go back to, and it says so."""
    bundle("0.1.0")
    start(A)
    with pytest.raises(ReleaseError, match="no model to go back to"):
        rollback(workspace, "ana")
    assert requests(workspace) == []


def test_what_is_live_is_not_promoted_again(
    workspace: Workspace, bundle: Write, start: Start
) -> None:
    """Promoting the live model is refused politely."""
    bundle("0.1.0")
    start(A)
    with pytest.raises(ReleaseError, match="is live already"):
        promote(workspace, A, "ana")


def test_a_refusal_of_the_scorer_is_told(workspace: Workspace, bundle: Write, start: Start) -> None:
    """When the scorer cannot take it, the reason and what goes on deciding are told at once."""
    bundle("0.1.0")
    bundle("0.2.0")
    scorer = start(A)
    scorer.refuses[B] = "the graph does not run"
    with pytest.raises(ReleaseError, match="the graph does not run") as caught:
        promote(workspace, B, "ana")
    assert f"{A} goes on deciding" in str(caught.value)
    assert models(workspace)["scorer"]["refused"]["model"] == B
    assert models(workspace)["previous"] is None
    assert requested_model(workspace) is None  # no restart takes it up
    with pytest.raises(ReleaseError, match="live already"):
        promote(workspace, A, "ana")


def test_a_rollback_passes_over_what_was_refused(
    workspace: Workspace, bundle: Write, start: Start
) -> None:
    """A model that the scorer refused never decided, so no way leads back to it."""
    for version in ("0.1.0", "0.2.0", "0.3.0"):
        bundle(version)
    copy_switches(workspace, (A, 0))
    scorer = start(A)
    scorer.refuses[B] = "the graph does not run"
    with pytest.raises(ReleaseError, match="does not run"):
        promote(workspace, B, "ana")
    promote(workspace, "boosting-0.3.0", "ana")
    assert rollback(workspace, "ana")["model"] == A


def test_without_a_scorer_the_request_waits(workspace: Workspace, bundle: Write) -> None:
    """With no scorer the request is stored, and the result says when it takes effect."""
    bundle("0.1.0")
    result = promote(workspace, A, "ana")
    assert (result["live"], result["took_ms"], result["revision"]) == (False, None, 1)
    assert "decides when one starts" in result["note"]
    with pytest.raises(ReleaseError, match="ana promoted"):
        promote(workspace, A, "ben")


def test_a_scorer_without_a_model_takes_it_at_its_next_start(
    workspace: Workspace, bundle: Write, start: Start
) -> None:
    """A scorer that decides by rules alone folds other features: the request waits for a start."""
    bundle("0.1.0")
    start("none", rules_only=True, feature_set="00" * 8)
    result = promote(workspace, A, "ana")
    assert not result["live"]
    assert "rules alone" in result["note"]


def test_a_scorer_that_does_not_follow_is_told(
    workspace: Workspace, bundle: Write, start: Start
) -> None:
    """A pinned scorer never takes it: after the wait the result says so."""
    bundle("0.1.0")
    scorer = start(C)
    scorer._stopped.set()
    time.sleep(0.1)
    result = promote(workspace, A, "ana", wait_s=0.1)
    assert (result["live"], result["took_ms"]) == (False, None)
    assert "--model" in result["note"]


def test_an_old_view_is_refused(workspace: Workspace, bundle: Write, start: Start) -> None:
    """Who looked before another's promotion is told of it, and the other's stays."""
    for version in ("0.1.0", "0.2.0", "0.3.0"):
        bundle(version)
    start(A)
    promote(workspace, B, "ana", expected_revision=0)
    with pytest.raises(ReleaseError, match=f"ana promoted {B}"):
        promote(workspace, C, "ben", expected_revision=0)
    assert requests(workspace) == [B]


PROMOTE = """
import sys, time
from pathlib import Path
from assay.bootstrap.lifecycle import promote
from assay.errors import ReleaseError
from assay.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]))
while time.time() < float(sys.argv[3]):
    pass
try:
    print("live" if promote(workspace, sys.argv[2], sys.argv[2][-5:], 0)["live"] else "late")
except ReleaseError as error:
    print(error)
"""


def test_of_two_promotions_at_once_one_wins(
    workspace: Workspace, bundle: Write, start: Start
) -> None:
    """Two processes promote different models at once: one goes live, the other hears of it."""
    for version in ("0.1.0", "0.2.0", "0.3.0"):
        bundle(version)
    scorer, at = start(A), str(time.time() + 3)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTE, str(workspace.path), model, at],
            stdout=subprocess.PIPE,
            text=True,
        )
        for model in (B, C)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    winner = (B, C)[said.index("live")]
    assert f"{winner[-5:]} promoted {winner}" in said[1 - said.index("live")]
    assert scorer.health["model"] == winner
    assert requests(workspace) == [winner]


def test_no_card_number_is_written(workspace: Workspace, bundle: Write) -> None:
    """A card number as a name is refused without being repeated, and stands nowhere."""
    bundle("0.1.0")
    number = "4111111111111111"
    errors = []
    for name, by in ((A, number), (number, "ana")):
        with pytest.raises(AssayError) as caught:
            promote(workspace, name, by)
        errors.append(caught.value)
    assert isinstance(errors[0], CardNumberError)
    assert not any(number in str(error) for error in errors)
    assert all(number.encode() not in p.read_bytes() for p in workspace.data.glob("control*"))


def test_two_models_are_compared(workspace: Workspace, bundle: Write) -> None:
    """A comparison holds both rows and where they differ; a damaged model cannot be compared."""
    bundle("0.1.0")
    lose = bundle("0.2.0", seed=5, metrics={"test": {"roc_auc": 0.95}})
    found = compare(workspace, A, B)
    assert (found["a"]["model"], found["b"]["model"]) == (A, B)
    assert found["metrics"][0]["difference"] == pytest.approx(0.05)
    assert found["parameters"] == [{"name": "seed", "a": 0, "b": 5}]
    assert show(workspace, B)["manifest"]["seed"] == 5
    lose_graph(lose)
    with pytest.raises(BundleError, match=B):
        compare(workspace, A, B)


def test_the_command_line_names_who_asked(workspace: Workspace, bundle: Write) -> None:
    """`assay model promote` takes the system's user, and --json gives the document."""
    bundle("0.1.0")
    run = subprocess.run(
        [sys.executable, "-m", "assay", "model", "promote", A, "--json"],
        cwd=workspace.path,
        env={**os.environ, "LOGNAME": "carla"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert msgspec.json.decode(run.stdout)["from"] is None
    engine = open_control(workspace.control)
    newest = Rollout(engine).newest()
    engine.dispose()
    assert newest is not None
    assert newest.requested_by == "carla"


def test_a_wrong_feature_state_stops_promotions_until_the_scorer_starts(
    workspace: Workspace, bundle: Write, start: Start
) -> None:
    """A model that is given wrong features is not let in; the way back stays open."""
    bundle("0.1.0")
    bundle("0.2.0")
    copy_switches(workspace, (A, 0), (B, 1))
    scorer = start(B, revision=0)
    engine = open_control(workspace.control)
    document = {"state": "mismatch", "mismatch": {"arrival": 42, "found_ms": 2_000}}
    values = {"document": msgspec.json.encode(document).decode(), "updated_ms": 9}
    with engine.begin() as connection:
        connection.execute(insert(LIVE).values(name="journal", **values))
    engine.dispose()
    with pytest.raises(ReleaseError, match=r"from arrival 42 on.*start the scorer again"):
        promote(workspace, A, "ann")
    assert requests(workspace) == []
    assert rollback(workspace, "ann")["model"] == A
    scorer.health["started_ms"] = 3_000
    assert promote(workspace, B, "ann")["model"] == B
