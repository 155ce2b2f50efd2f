from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from assay.bootstrap.create import create_workspace
from assay.bootstrap.segments import WorkspaceSegments
from assay.clock import VirtualClock
from assay.errors import StalledError
from assay.journal.boot_record import BootRecord
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.log import Log
from assay.journal.retention import drop_segments
from assay.worker.gaps import Gaps
from assay.workspace import Workspace

NOW_MS = 1_780_272_001_000
FAR = 1 << 60
BOOT = BootRecord(
    model="m", policy="p", feature_set="f", runtime="r", fx="x", time_zones="t", dataset="s"
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with a journal of several segments, none of them sealed."""
    workspace = create_workspace(tmp_path / "w")
    log = Log.open(workspace.journal, VirtualClock(NOW_MS), segment_bytes=1000)
    for arrival in range(1, 31):
        log.append([BOOT.encode(arrival, NOW_MS)])
        log.sync()
    log.close()
    return workspace


def seal_all(workspace: Workspace) -> WorkspaceSegments:
    segments = WorkspaceSegments(workspace, VirtualClock(NOW_MS))
    for number in segments.sealable():
        assert segments.seal(number) is not None
    return segments


def follow(workspace: Workspace, gaps: Gaps, position: int = 0) -> int:
    follower = Follower(workspace.journal, position, on_gap=gaps.add)
    while follower.read():
        pass
    return follower.position


@pytest.mark.parametrize("at", [3, -20])
def test_damage_in_a_sealed_segment_quarantines_it(workspace: Workspace, at: int) -> None:
    """A gap that comes of damage is marked before reading goes on, and retention keeps it."""
    segments, folder = seal_all(workspace), Folder(workspace.journal)
    path = folder.sealed(2)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    gaps = Gaps(VirtualClock(NOW_MS), None, segments.examine)
    follow(workspace, gaps)
    assert gaps.document()["gaps"] == 1
    (mark,) = segments.quarantined()
    assert (mark["number"], mark["found_ms"]) == (2, NOW_MS)
    assert mark["what"] in gaps.document()["newest_gaps"][0]["why"]
    assert drop_segments(folder, FAR, FAR) == [1]
    follow(workspace, gaps)
    assert segments.quarantined() == [mark]


def test_a_gap_of_retention_quarantines_nothing(workspace: Workspace) -> None:
    """What was deleted on purpose is a gap for who needed it, and no damage."""
    segments, folder = seal_all(workspace), Folder(workspace.journal)
    position = Follower(workspace.journal).read(1)[0][0]
    assert drop_segments(folder, FAR, 3 << 40) == [1, 2]
    gaps = Gaps(VirtualClock(NOW_MS), None, segments.examine)
    follow(workspace, gaps, position)
    assert gaps.document()["gaps"] == 1
    assert segments.quarantined() == []


def test_sealing_leaves_the_journal_its_reserve(workspace: Workspace) -> None:
    """With less free than the reserve and the segment's size nothing is written, and it is told."""
    disk = os.statvfs(workspace.journal)
    reserve_mb = (disk.f_blocks * disk.f_frsize >> 20) + 1
    full = replace(workspace, settings=replace(workspace.settings, disk_reserve_mb=reserve_mb))
    with pytest.raises(StalledError, match="beside the reserve"):
        WorkspaceSegments(full, VirtualClock(NOW_MS)).seal(1)
    assert not Folder(workspace.journal).sealed(1).exists()
    assert WorkspaceSegments(workspace, VirtualClock(NOW_MS)).seal(1) is not None


def test_a_sealed_segment_that_becomes_damaged_is_found_without_a_reader(
    workspace: Workspace,
) -> None:
    """Each compressed segment is read through in turn, and what is damaged is marked."""
    segments, folder = seal_all(workspace), Folder(workspace.journal)
    sealed = [n for n in folder.numbers() if folder.sealed(n).exists()]
    content = bytearray(folder.sealed(sealed[1]).read_bytes())
    content[-20] ^= 1
    folder.sealed(sealed[1]).write_bytes(content)
    assert [segments.verify_next() for _ in sealed] == [n != sealed[1] for n in sealed]
    assert [found["number"] for found in segments.quarantined()] == [sealed[1]]
    assert all(segments.verify_next() for _ in sealed), "what is marked is left alone"
