from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from assay.errors import FeatureError
from assay.features.default_set import default_features
from assay.features.definitions import FeatureSet, Input, Ratio, ZScore
from assay.features.fold import Fold
from assay.records import empty_events

sys.path.insert(0, str(Path(__file__).parent))
from streams import stream

SMALL = FeatureSet((Input(name="amount", field="amount_ref", description="Amount."),))


def fold() -> Fold:
    return Fold(SMALL, lateness_ms=0, entities_max=1024, events_max=65_536)


def test_a_cache_that_others_may_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machine code is loaded only from a folder that nobody else can put it into."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels").chmod(0o777)
    with pytest.raises(FeatureError, match="written by others"):
        fold()


def test_a_foreign_source_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file under the kernel's name with another content never runs."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    events = empty_events(1)
    events["amount_ref"] = 7
    assert fold()(events).tolist() == [[7.0]]
    (source,) = (tmp_path / "kernels").glob("kernel_*.py")
    good = source.read_text()
    source.write_text("raise SystemExit('foreign code ran')")
    assert fold()(events).tolist() == [[7.0]]
    assert source.read_text() == good


def test_kernels_stand_side_by_side() -> None:
    """Two feature sets in one process each compute their own features, whichever came first."""
    events = stream(3, 200, 3_600_000)
    full = default_features()
    other = FeatureSet(tuple(f for f in full.features if not isinstance(f, Ratio | ZScore | Input)))
    folds = [
        Fold(features, lateness_ms=3_600_000, entities_max=1024, events_max=65_536)
        for features in (full, SMALL, other)
    ]
    rows = [fold(events) for fold in folds]
    columns = [full.names.index(name) for name in other.names]
    np.testing.assert_array_equal(rows[2], rows[0][:, columns])
    assert folds[0].digest() == folds[2].digest()
