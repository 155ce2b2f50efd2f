"""Retention: what is old and needed by nobody goes, in order, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from assay.clock import VirtualClock
from assay.errors import JournalError
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.index import SegmentIndex
from assay.journal.lookup import Lookup
from assay.journal.reader import last_boot
from assay.journal.retention import drop_segments
from assay.journal.sealer import seal, sealable
from assay.records import Gap

Writer = Callable[..., list[tuple[int, bytes]]]
FAR = 1 << 60


@pytest.fixture
def folder(tmp_path: Path, write_stream: Writer) -> Folder:
    """A journal of many small segments, all but the last sealed."""
    write_stream(tmp_path, 60, segment_bytes=1500)
    folder = Folder(tmp_path)
    for number in sealable(folder):
        seal(folder, number, VirtualClock(1))
    return folder


def test_only_what_is_old_goes(folder: Folder) -> None:
    """A segment goes only if its newest record is older than the limit."""
    numbers = folder.numbers()
    newest = SegmentIndex.load(folder.index(numbers[2])).last_arrival_ms
    assert drop_segments(folder, newest, FAR) == numbers[:2]
    assert drop_segments(folder, newest, FAR) == []
    assert drop_segments(folder, newest + 1, FAR) == [numbers[2]]
    assert folder.numbers() == numbers[3:]
    assert not folder.index(numbers[0]).exists()


def test_what_is_needed_stays(folder: Folder) -> None:
    """A segment stays while the position of somebody who reads lies in it."""
    numbers = folder.numbers()
    assert drop_segments(folder, FAR, (numbers[2] << 40) + 64) == numbers[:2]
    assert drop_segments(folder, FAR, 0) == []
    assert drop_segments(folder, FAR, FAR) == numbers[2:-2]
    assert folder.numbers() == numbers[-2:]


def test_a_quarantined_segment_and_what_follows_stay(folder: Folder) -> None:
    """Nothing from a quarantined segment on goes, so that there is no gap in the numbers."""
    numbers = folder.numbers()
    folder.damaged(numbers[3]).write_bytes(b"{}")
    assert drop_segments(folder, FAR, FAR) == numbers[:3]


def test_what_is_not_sealed_stays(tmp_path: Path, write_stream: Writer) -> None:
    """What is not sealed is not removed, however old, nor what follows it."""
    write_stream(tmp_path, 60, segment_bytes=1500)
    folder = Folder(tmp_path)
    seal(folder, 2, VirtualClock(1))
    assert drop_segments(folder, FAR, FAR) == []
    assert drop_segments(Folder(tmp_path / "none"), FAR, FAR) == []


def test_boots_outlive_their_segment(folder: Folder) -> None:
    """The versions that old decisions name are known though their record went."""
    drop_segments(folder, FAR, FAR)
    assert last_boot(folder.path) is not None
    assert Lookup(folder.path).boot(1).model == "m"


def test_a_follower_is_told(folder: Folder) -> None:
    """Who had not read what went is told so, once, and goes on behind it."""
    numbers = folder.numbers()
    whole = Follower(folder.path).read()
    drop_segments(folder, FAR, numbers[4] << 40)
    with pytest.raises(JournalError, match="retention removed what stood here; accepted: 0, or"):
        Follower(folder.path, whole[2][0]).read()
    gaps: list[Gap] = []
    follower = Follower(folder.path, whole[2][0], on_gap=gaps.append)
    rest = [record for record in whole if record[0] >> 40 >= numbers[4]]
    assert follower.read() == rest
    (gap,) = gaps
    assert (gap.position, gap.position_after) == (whole[2][0], numbers[4] << 40 | 64)
    assert Follower(folder.path).read() == rest


def test_a_follower_that_had_read_all_is_not_told(folder: Folder) -> None:
    """Who stood at the end of what went lost nothing, so there is no gap."""
    numbers = folder.numbers()
    whole = Follower(folder.path).read()
    ahead = [position for position, _ in whole if position >> 40 == numbers[1]]
    follower = Follower(folder.path)
    while follower.position < ahead[-1]:
        follower.read(1)
    drop_segments(folder, FAR, numbers[2] << 40)
    rest = [record for record in whole if record[0] >> 40 >= numbers[2]]
    assert Follower(folder.path, follower.position).read() == rest
    assert follower.read() == rest
