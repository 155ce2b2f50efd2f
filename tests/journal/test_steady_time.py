import logging

import pytest

from assay.clock import VirtualClock
from assay.journal.steady_time import SteadyTime

HOUR_MS = 3_600_000


def test_the_wall_clock_does_not_move_it(caplog: pytest.LogCaptureFixture) -> None:
    """A wall clock set forward by a day or back by an hour leaves it alone and is told, once."""
    clock = VirtualClock(1_700_000_000_000)
    steady = SteadyTime(clock)
    told = []
    with caplog.at_level(logging.ERROR, "assay.journal"):
        for step_ms in (0, 200_000, 24 * HOUR_MS, 0, 0, -25 * HOUR_MS, 0):
            clock.time_ms += step_ms
            steady.compare(clock.now_ms())
            told.append(steady.steps)
    assert told == [0, 0, 1, 1, 1, 2, 2]
    assert len(caplog.records) == 2
    assert "forward" in caplog.records[0].message
    assert "back" in caplog.records[1].message
    assert 0 <= steady.now_ms() - 1_700_000_000_000 < 60_000
