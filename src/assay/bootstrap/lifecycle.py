"""Models and what is live: documents for people and tools, promotion and rollback."""

from __future__ import annotations

import time
from typing import Any, Final

from assay.bootstrap.bundles import bundle_folders, find_folder, manifest_facts, read_manifest
from assay.bootstrap.live import (
    Health,
    Past,
    control,
    in_force,
    live_facts,
    scorer_facts,
    scorer_health,
)
from assay.clock import SystemClock
from assay.decisions.policy import Policy
from assay.errors import AssayError, CardNumberError, PolicyError, ReleaseError
from assay.ingest.firewall import contains_card_number
from assay.ingest.money import CURRENCIES
from assay.lifecycle import describe
from assay.lifecycle.history import NO_MODEL, rollback_target, was_live
from assay.lifecycle.rollout import Cause, Rollout
from assay.scoring.bundle import Bundle
from assay.scoring.keys import public_key
from assay.scoring.manifest import Manifest
from assay.workspace import Workspace

POLL_S: Final = 0.02
SWITCHES_SHOWN: Final = 50


# --- what there is -----------------------------------------------------------------------------


def models(workspace: Workspace) -> dict[str, Any]:
    """Return every model, what is live, and what was.

    Works without a scorer, a database or a model. Manifests and their signatures are checked;
    the other files of a bundle are checked when it is promoted.

    Returns
    -------
    dict
        ``revision``, ``live``, ``previous``, ``scorer``, ``models``, ``switches``; and ``error``
        if the control database could not be read.
    """
    health = scorer_health(workspace)
    past = Past.read(workspace)
    live = live_facts(health, past)
    name = live["model"] if live else None
    named = was_live(past.switches, past.requests, in_force(health, past))
    previous = rollback_target(named, name)
    askers = {request.revision: request.requested_by for request in past.requests}
    document = {
        "revision": past.revision,
        "live": live,
        "previous": previous,
        "scorer": scorer_facts(workspace, health, past),
        "models": _rows(workspace, name, previous, set(named)),
        "switches": [
            {
                **{key: switch[key] for key in ("arrival", "at_ms", "cause", "revision")},
                **{key: switch[key] for key in ("model", "policy")},
                "by": askers.get(switch["revision"]) if switch["cause"] != "start" else None,
            }
            for switch in past.switches[:SWITCHES_SHOWN]
        ],
    }
    return document if past.error is None else {**document, "error": past.error}


def compare(workspace: Workspace, a: str, b: str) -> dict[str, Any]:
    """Return two models' rows and where they differ.

    Raises
    ------
    BundleError
        If one is missing or damaged.
    """
    facts = [
        manifest_facts(read_manifest(workspace, find_folder(workspace, name))) for name in (a, b)
    ]
    rows = {row["model"]: row for row in models(workspace)["models"]}
    return {"a": rows[a], "b": rows[b], **describe.compare(*facts)}


def show(workspace: Workspace, name: str) -> dict[str, Any]:
    """Return one model's row, and under ``manifest`` all that its bundle says about itself.

    Raises
    ------
    BundleError
        If it is missing or damaged.
    """
    manifest = read_manifest(workspace, find_folder(workspace, name))
    rows = {row["model"]: row for row in models(workspace)["models"]}
    return {**rows[name], "manifest": manifest_facts(manifest)}


def requested_model(workspace: Workspace) -> str | None:
    """Return the model that was asked for last, if its bundle is there."""
    asked = Past.read(workspace).asked
    model = None if asked is None else asked.model
    return model if model in {folder.name for folder in bundle_folders(workspace)} else None


def _rows(
    workspace: Workspace, live: str | None, previous: str | None, known: set[str]
) -> list[dict[str, Any]]:
    rows = []
    for folder in bundle_folders(workspace):
        status = "retired" if folder.name in known else "candidate"
        status = {live: "live", previous: "previous"}.get(folder.name, status)
        try:
            facts = manifest_facts(read_manifest(workspace, folder))
            rows.append(describe.model_row(folder.name, facts, status))
        except AssayError as error:
            rows.append(describe.damaged_row(folder.name, str(error)))
    return rows


# --- releases ----------------------------------------------------------------------------------


def promote(
    workspace: Workspace,
    model: str,
    by: str,
    expected_revision: int | None = None,
    wait_s: float = 5.0,
) -> dict[str, Any]:
    """Ask that a model decides, and wait until it does.

    Parameters
    ----------
    workspace : Workspace
    model : str
    by : str
        Who asks.
    expected_revision : int, optional
        What the caller has seen as newest; by default what is newest at the call.
    wait_s : float
        How long to wait for the scorer.

    Returns
    -------
    dict
        ``revision``, ``model``, ``from``, ``live``, ``took_ms`` (from the request until the
        scorer named it; None if it did not), ``note`` (why it is not live yet, or None).

    Raises
    ------
    BundleError, FeatureError, PolicyError
        If the model could not decide; nothing was written.
    ReleaseError
        If it is live already, does not match what runs, somebody else came first, the scorer
        refused it, or its feature state was found to be wrong since its start.
    """
    return _release(workspace, model, "promote", by, expected_revision, wait_s)


def rollback(
    workspace: Workspace, by: str, expected_revision: int | None = None, wait_s: float = 5.0
) -> dict[str, Any]:
    """Ask for the model that was live before the live one; parameters and result as `promote`.

    Raises
    ------
    ReleaseError
        If there was none; else as `promote`.
    """
    return _release(workspace, None, "rollback", by, expected_revision, wait_s)


def _release(
    workspace: Workspace,
    model: str | None,
    cause: Cause,
    by: str,
    expected_revision: int | None,
    wait_s: float,
) -> dict[str, Any]:
    if contains_card_number(by):
        raise CardNumberError("by")
    with control(workspace) as engine:
        past, health = Past.of(engine), scorer_health(workspace)
        live = live_facts(health, past)
        before = live["model"] if live else None
        target = _previous(before, health, past) if model is None else model
        if cause == "promote":
            _check_state(health, past)
        _check_new(target, health, past)
        _check(workspace, target, health)
        expected = past.revision if expected_revision is None else expected_revision
        began = time.monotonic()
        now_ms = SystemClock().now_ms()
        rollout = Rollout(engine)
        revision = rollout.request(target, cause, by, expected, now_ms)
        try:
            note = _wait(workspace, health, revision, target, wait_s)
        except ReleaseError as error:
            rollout.refuse(revision, str(error))
            raise
    took_ms = None if note else round((time.monotonic() - began) * 1000, 1)
    return {
        "revision": revision,
        "model": target,
        "from": before,
        "live": note is None,
        "took_ms": took_ms,
        "note": note,
    }


def _previous(live: str | None, health: Health | None, past: Past) -> str:
    named = was_live(past.switches, past.requests, in_force(health, past))
    target = rollback_target(named, live)
    if target is None:
        now = f"{live} is" if live else "none is"
        raise ReleaseError(
            f"there is no model to go back to: {now} live, and no other was before it; "
            "accepted: a rollback after a promotion, or assay model promote MODEL"
        )
    return target


def _check_state(health: Health | None, past: Past) -> None:
    """Refuse a promotion while the scorer's feature state is known to be wrong."""
    found = past.journal.get("mismatch")
    if not found or ((health or {}).get("started_ms") or 0) > found["found_ms"]:
        return
    raise ReleaseError(
        f"the scorer's feature state is not what the journal gives, from arrival "
        f"{found['arrival']} on, so every model is given wrong features; accepted: start the "
        "scorer again, which restores its state, then promote; a rollback is possible now"
    )


def _check_new(model: str, health: Health | None, past: Past) -> None:
    """Refuse to ask for what is already so."""
    asked = past.asked
    if asked is not None and asked.model != model:
        return
    if health is not None and health["model"] == model:
        raise ReleaseError(f"{model} is live already; accepted: another model")
    if health is None and asked is not None:
        raise ReleaseError(f"{asked}; it will decide when a scorer starts; accepted: another model")


def _check(workspace: Workspace, model: str, health: Health | None) -> None:
    """Refuse a model that could not decide, before anything is written."""
    folder = find_folder(workspace, model)
    manifest = read_manifest(workspace, folder)
    if health is None or health.get("rules_only") or health["model"] == NO_MODEL:
        # The next start loads it, so everything that a start needs is tried.
        from assay.bootstrap.scoring import load_scoring

        load_scoring(workspace, model)
        return
    running = str(health.get("feature_set"))
    if manifest.feature_set[:16] != running:
        raise ReleaseError(
            f"{model} was trained on feature set {manifest.feature_set[:16]}, and the scorer "
            f"computes {running}; accepted: a model of the same features. To change them, stop "
            "the scorer, promote the model, and start it again"
        )
    Bundle.load(folder, public_key(workspace.keys))
    _check_policy(workspace, manifest)


def _check_policy(workspace: Workspace, manifest: Manifest) -> None:
    if not workspace.policy.is_file():
        raise PolicyError(f"{workspace.policy} is missing; accepted: a policy, restore it")
    text = workspace.policy.read_text(encoding="utf-8")
    currencies = {code: currency.number for code, currency in CURRENCIES.items()}
    Policy.load(text, tuple(manifest.features), currencies)


def _wait(
    workspace: Workspace, health: Health | None, revision: int, model: str, wait_s: float
) -> str | None:
    """Wait until the scorer has taken a request; return why it has not, or None.

    Raises
    ------
    ReleaseError
        If the scorer refused it.
    """
    if health is None:
        return "no scorer answers; the model decides when one starts"
    if health.get("rules_only"):
        return (
            "the scorer decides by rules alone, without a model; the model decides when it "
            "starts again, which assay up does by itself"
        )
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        now = scorer_health(workspace)
        if now is not None and int(now.get("revision", 0)) >= revision:
            return _outcome(now, model)
        refused = (now or {}).get("refused")
        if refused and refused.get("revision") == revision:
            assert now is not None
            raise ReleaseError(
                f"the scorer refused {model}: {refused.get('reason')}; "
                f"{now['model']} goes on deciding"
            )
        time.sleep(POLL_S)
    return (
        f"the scorer did not take it within {wait_s:g} s; one that was started with --model "
        "keeps its model"
    )


def _outcome(health: Health, model: str) -> str | None:
    if health["model"] == model:
        return None
    return f"another request came right after it: {health['model']} is live"
