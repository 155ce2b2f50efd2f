from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from assay.control.database import open_control
from assay.control.schema import SWITCHES
from assay.lifecycle.history import read_switches, rollback_target, was_live
from assay.lifecycle.rollout import Request


def switch(model: str, revision: int = 0, arrival: int = 0) -> dict[str, Any]:
    facts = dict.fromkeys(("policy", "feature_set", "runtime"), "x")
    return {"arrival": arrival, "at_ms": 1, "cause": "start", "revision": revision} | {
        "model": model,
        **facts,
    }


def asked(revision: int, model: str) -> Request:
    return Request(revision, model, "promote", "ana", 1)


def test_switches_come_newest_first(tmp_path: Path) -> None:
    """What the worker copied from the journal is read in order of arrival, newest first."""
    engine = open_control(tmp_path / "control.sqlite")
    with engine.begin() as connection:
        connection.execute(insert(SWITCHES), [switch("a", 0, 1), switch("b", 1, 90)])
    assert [row["model"] for row in read_switches(engine)] == ["b", "a"]
    engine.dispose()


def test_the_first_model_needs_no_request() -> None:
    """A model that a start brought is a target although nobody asked for it."""
    named = was_live([switch("b", 1), switch("a")], [asked(1, "b")], 1)
    assert rollback_target(named, "b") == "a"


def test_what_the_worker_has_not_copied_yet_counts() -> None:
    """A switch that just happened is known from its request, before the worker has seen it."""
    named = was_live([switch("a")], [asked(2, "c"), asked(1, "b")], 2)
    assert named == ["c", "b", "a"]
    assert rollback_target(named, "c") == "b"


def test_what_was_refused_was_never_live() -> None:
    """A request that the scorer did not take is no target."""
    assert was_live([switch("a")], [asked(1, "b")], 0) == ["a"]
    named = was_live([switch("c", 2), switch("a")], [asked(2, "c"), asked(1, "b")], 2)
    assert rollback_target(named, "c") == "a"


def test_restarts_and_rules_are_no_models() -> None:
    """Restarts of the same model and stretches without one are passed over."""
    starts = [switch("b"), switch("none"), switch("b"), switch("a"), switch("none")]
    assert rollback_target(was_live(starts, [], 0), "b") == "a"


def test_a_second_rollback_leads_back() -> None:
    """Rolling back twice ends where it began."""
    named = was_live([switch("a", 2), switch("b", 1), switch("a")], [], 2)
    assert rollback_target(named, "a") == "b"


def test_without_any_history_there_is_no_target() -> None:
    """Where nothing was live before, there is nothing to go back to."""
    assert rollback_target([], None) is None
    assert rollback_target([], "a") is None


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.integers(0, 12))
def test_the_target_does_not_depend_on_the_worker(live: list[str], copied: int) -> None:
    """However far the worker has copied, the target is the last other model that was live."""
    copied = max(1, min(copied, len(live)))  # nobody asked for the first: only the journal has it
    switches = [switch(model, n) for n, model in enumerate(live[:copied])]
    requests = [asked(n, model) for n, model in enumerate(live) if n]
    named = was_live(switches[::-1], requests[::-1], len(live) - 1)
    want = next((model for model in reversed(live) if model != live[-1]), None)
    assert named == live[::-1]
    assert rollback_target(named, live[-1]) == want
