from __future__ import annotations

import numpy as np

from assay.training.part import Part


def test_part_counts_and_prints() -> None:
    """A part says its dates, rows and frauds, and keeps no row in its facts."""
    part = Part("test", 0, 86_400_000, None, np.arange(3), np.array([True, False, True]))
    assert part.frauds == 2
    assert (
        str(part)
        == "test         1970-01-01 00:00 to 1970-01-02 00:00            3 rows         2 frauds"
    )
    assert part.facts() == {
        "start_ms": 0,
        "end_ms": 86_400_000,
        "labels_known_ms": None,
        "rows": 3,
        "frauds": 2,
    }
