"""The benchmark of the journal: its figures are real ones, at any size."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.simulation.journal_speed import FEATURES, measure_journal


@pytest.mark.slow
def test_every_figure_is_measured(tmp_path: Path) -> None:
    """A small run gives every figure, finds all decisions again, and loses none of them."""
    found = measure_journal(tmp_path / "w", cards=5_000, records=5_000)
    assert found["replay_same"]
    assert found["recovered"] == found["ready_records"] + 1 == 5_001
    assert found["ready_from_snapshot"]
    assert found["ready_cards"] > 5_000
    assert found["features"] >= 96
    assert 0 < found["bytes_per_record"] < found["raw_bytes_per_record"]
    for name in ("records_per_s", "replay_records_per_s", "p99_commit_ms", "follow_delay_p99_s"):
        assert found[name] > 0, name


def test_the_features_of_the_benchmark_are_enough() -> None:
    """The feature file defines at least 96 features, each by its own name."""
    namespace: dict[str, object] = {}
    exec(FEATURES, namespace)
    assert len(namespace["features"].names) >= 96  # type: ignore[attr-defined]
