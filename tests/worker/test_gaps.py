from __future__ import annotations

import errno

import pytest

from assay.clock import VirtualClock
from assay.records import Gap
from assay.worker.gaps import TOLD_MS, Gaps


def test_a_gap_is_counted_once_and_told_for_a_day() -> None:
    """A gap met again after a restart is the same one; after a day it is only a number."""
    clock = VirtualClock(1)
    gaps = Gaps(clock, None)
    gaps.add(Gap(10, 20, "damaged"))
    gaps = Gaps(clock, gaps.document())
    gaps.add(Gap(10, 20, "damaged"))
    gaps.add(Gap(40, 50, "gone"))
    found = gaps.document()
    assert found["gaps"] == 2
    assert [gap["why"] for gap in found["newest_gaps"]] == ["damaged", "gone"]
    clock.advance(TOLD_MS + 1)
    assert gaps.document() == {"gaps": 2, "newest_gaps": []}


def test_a_gap_that_cannot_be_examined_is_met_again() -> None:
    """Nobody goes on behind a gap whose segment could not be marked; a known one is marked, too."""
    examined: list[int] = []

    def examine(position: int) -> None:
        examined.append(position)
        if len(examined) == 1:
            raise OSError(errno.EIO, "failed")

    gaps = Gaps(VirtualClock(1), None, examine)
    with pytest.raises(OSError, match="failed"):
        gaps.add(Gap(10, 20, "damaged"))
    assert gaps.document()["gaps"] == 0
    for _ in range(2):
        gaps.add(Gap(10, 20, "damaged"))
    assert examined == [10, 10, 10]
    assert gaps.document()["gaps"] == 1
