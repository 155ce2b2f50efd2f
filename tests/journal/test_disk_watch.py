import logging
import time

import pytest

from assay.journal.disk_watch import DiskWatch


def test_an_alarm_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Crossing the limit is logged once; small ups and downs around it are not, a fall is."""
    free = [50]
    watch = DiskWatch(lambda: (free[0], 100), 10, 85)
    told = []
    with caplog.at_level(logging.ERROR, "assay.journal"):
        for now in (50, 15, 15, 15.5, 14, 40, 9):
            free[0] = now
            time.sleep(0.051)
            document = watch.document()
            told.append((document["alarm"], document["full"], len(caplog.records)))
    alarmed = (True, False, 1)
    assert told == [(False, False, 0), *[alarmed] * 4, (False, False, 1), (True, True, 2)]
    assert document["used_percent"] == 91
    assert document["free_bytes"] == 9


def test_it_looks_rarely() -> None:
    """Asked for every request, it asks the system at most once in 50 ms."""
    looks = []

    def free() -> tuple[int, int]:
        looks.append(time.monotonic())
        return 50, 100

    watch = DiskWatch(free, 10, 85)
    end = time.monotonic() + 0.12
    while time.monotonic() < end:
        assert not watch.full()
    assert 1 <= len(looks) <= 3
