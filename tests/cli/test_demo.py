"""The demo's loop, end to end over real HTTP, on a smaller world."""

from __future__ import annotations

from pathlib import Path

from assay.clock import VirtualClock
from assay.simulation.loop import run_loop


def test_the_whole_loop(tmp_path: Path) -> None:
    """World, import, training, scorer and live traffic give decisions that rank fraud well."""
    clock = VirtualClock(1_780_272_000_000)  # the same world in every run
    result = run_loop(
        tmp_path / "w", rows=150_000, live_rows=10_000, days=92, customers=3_000, clock=clock
    )
    assert result["history"] > 130_000
    assert result["decisions"] == 10_000
    assert result["errors"] == 0
    assert result["roc_auc"] > 0.8
    assert result["average_precision"] > 0.25  # ten times and more the share of fraud
    assert sum(result["actions"].values()) == 10_000
    assert result["p99_ms"] > result["p50_ms"] > 0
