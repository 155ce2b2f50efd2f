"""The demo's loop, end to end over real HTTP and real processes, on a smaller world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.cli.demo import demo
from assay.clock import VirtualClock
from assay.errors import SettingsError
from assay.simulation.loop import run_loop

END_MS = 1_780_272_000_000  # the same world in every run
KEYS = (
    *("history", "model", "decisions", "errors", "statuses", "scored", "frauds"),
    *("average_precision", "roc_auc", "p50_ms", "p99_ms", "actions"),
    *("second_model", "labels_matched", "alerts_before_drift", "drift_alerts"),
    *("promote_ms", "rollback_ms", "rollback_failed_requests", "console_pages_ok"),
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_loop(
        tmp_path_factory.mktemp("demo") / "w",
        rows=150_000,
        live_rows=8_000,
        drift_rows=5_000,
        switch_rows=4_000,
        days=92,
        customers=3_000,
        clock=VirtualClock(END_MS),
    )


def test_the_live_decisions_are_good(result: dict[str, Any]) -> None:
    """World, import, training, scorer and live traffic give decisions that rank fraud well."""
    assert tuple(result) == KEYS
    assert result["history"] > 125_000
    assert result["decisions"] == 8_000
    assert result["errors"] == 0
    assert result["roc_auc"] > 0.8
    assert result["average_precision"] > 0.25  # ten times and more the share of fraud
    assert sum(result["actions"].values()) == 8_000
    assert result["p99_ms"] > result["p50_ms"] > 0


def test_the_loop_closes(result: dict[str, Any]) -> None:
    """Labels are matched, drift is alerted and nothing before it, and the pages are filled."""
    assert result["labels_matched"] > 50
    assert result["alerts_before_drift"] == 0
    assert result["drift_alerts"] >= 1
    assert result["console_pages_ok"] == 4


def test_models_are_switched_under_load(result: dict[str, Any]) -> None:
    """The second model is promoted and taken back; callers feel neither."""
    assert result["second_model"] != result["model"]
    assert 0 < result["promote_ms"] < 5_000
    assert 0 < result["rollback_ms"] < 5_000  # a second when the machine does nothing else
    assert result["rollback_failed_requests"] == 0


def test_json_needs_an_end() -> None:
    """A demo that goes on has no summary to print, and says so at once."""
    with pytest.raises(SettingsError, match="accepted: both"):
        demo(as_json=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_drift_is_alerted_and_nothing_else(tmp_path: Path, seed: int) -> None:
    """At its full size the demo alerts the pandemic, and nothing before it, whatever the seed."""
    result = run_loop(tmp_path / "w", seed=seed)
    assert result["alerts_before_drift"] == 0
    assert result["drift_alerts"] >= 1
    assert result["console_pages_ok"] == 4
    assert result["rollback_failed_requests"] == 0
