from __future__ import annotations

from pathlib import Path

import pytest
from watched_world import Size, watch

SMALL = Size(days=40, live_days=4, customers=1_500, per_day=1_600)
WHOLE = Size(days=96, live_days=6, customers=3_000, per_day=2_000)


def test_drift_that_is_switched_on_is_alerted(tmp_path: Path) -> None:
    """A pandemic in the world opens an alert within a day and a half, and none before it."""
    watched = watch(tmp_path / "world", 1, SMALL, "pandemic", trained=False)
    assert 0 < min(watched.hours(), default=0) <= 36, watched


def test_ordinary_life_is_not_alerted(tmp_path: Path) -> None:
    """Days without any event open no alert, though the world's windows are still filling."""
    watched = watch(tmp_path / "world", 1, SMALL, None, trained=False)
    assert watched.alerts == [], watched


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_trained_model_is_alerted(tmp_path: Path, seed: int) -> None:
    """With a trained model a pandemic is alerted within a day and a half, and not before it."""
    watched = watch(tmp_path / "world", seed, WHOLE, "pandemic", trained=True)
    assert 0 < min(watched.hours(), default=0) <= 36, watched


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 3])
def test_a_trained_model_is_not_alerted(tmp_path: Path, seed: int) -> None:
    """With a trained model, days without any event open no alert."""
    watched = watch(tmp_path / "world", seed, WHOLE, None, trained=True)
    assert watched.alerts == [], watched
