"""Finding records while segments are sealed, damaged, or lose their index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from assay.clock import VirtualClock
from assay.errors import DamageError
from assay.journal.entries import first_arrival
from assay.journal.finder import Finder
from assay.journal.folder import Folder
from assay.journal.log import OFFSET_BITS, Log
from assay.journal.quarantine import quarantined
from assay.journal.sealer import seal, sealable
from assay.journal.segments import OFFSET_MASK

Writer = Callable[..., list[tuple[int, bytes]]]
CLOCK = VirtualClock(1_700_000_000_000)


def flip(path: Path, at: int) -> None:
    """Change one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def finder(folder: Path, log: Log, *, notes: bool) -> Finder:
    """Return a finder that has noted all, or only the newest record, as after a start."""
    found = Finder(log, Folder(folder))
    for position, payload in list(log.scan())[0 if notes else -1 :]:
        found.add([first_arrival(payload)], [position])
    return found


@pytest.mark.parametrize("harm", ["lost", "changed", "another's"])
def test_an_index_that_is_no_use_is_made_again(
    tmp_path: Path, write_stream: Writer, harm: str
) -> None:
    """A lost or damaged index, or another segment's, costs time and no record."""
    written = write_stream(tmp_path, 60)
    folder = Folder(tmp_path)
    for number in sealable(folder):
        assert seal(folder, number, CLOCK)
    if harm == "lost":
        folder.index(1).unlink()
    elif harm == "changed":
        flip(folder.index(1), 100)
    else:
        folder.index(1).write_bytes(folder.index(2).read_bytes())
    log = Log.open(tmp_path, CLOCK)
    found = finder(tmp_path, log, notes=False)
    assert [found.find(first_arrival(payload)) for _, payload in written] == [
        payload for _, payload in written
    ]
    log.close()


@pytest.mark.parametrize("notes", [True, False])
def test_what_is_sound_in_a_damaged_segment_is_found(
    tmp_path: Path, write_stream: Writer, notes: bool
) -> None:
    """Only what lies in the damaged group cannot be read, and that is said, not denied."""
    written = write_stream(tmp_path, 60)
    folder = Folder(tmp_path)
    log = Log.open(tmp_path, CLOCK)
    found = finder(tmp_path, log, notes=notes)
    in_second = [(p, payload) for p, payload in written if p >> OFFSET_BITS == 2]
    position, damaged = in_second[len(in_second) // 2]
    flip(folder.segment(2), (position & OFFSET_MASK) + 30)
    assert seal(folder, 2, CLOCK) is None
    assert quarantined(folder)
    lost = []
    for _, payload in written:
        try:
            assert found.find(first_arrival(payload)) == payload
        except DamageError:
            lost.append(payload)
    assert damaged in lost
    assert len(lost) < len(in_second)
    log.close()
