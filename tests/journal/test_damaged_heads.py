"""A segment whose head or disk is bad costs what it holds, and nothing elsewhere."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from assay.errors import DamageError
from assay.journal import follower
from assay.journal.entries import first_arrival
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.lookup import Lookup
from assay.journal.segment_file import open_segment
from assay.journal.segments import OFFSET_BITS
from assay.records import Gap

Writer = Callable[..., list[tuple[int, bytes]]]


def flip_head(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("number", [1, 3])
def test_a_damaged_head_harms_no_other_segment(
    tmp_path: Path, write_stream: Writer, number: int
) -> None:
    """The stream has its name still, and records of other segments are found as ever."""
    written = write_stream(tmp_path, 60)
    stream = Follower(tmp_path).stream
    flip_head(Folder(tmp_path).segment(number))
    assert Follower(tmp_path).stream == stream
    lookup = Lookup(tmp_path)
    for position, payload in written:
        with suppress(DamageError):
            assert lookup.by_arrival(first_arrival(payload)) == (position, payload)
            continue
        assert position >> OFFSET_BITS == number


class _BadSector(io.FileIO):
    def readinto(self, buffer: Any) -> int:
        if self.tell() < 2012 and self.tell() + len(buffer) > 1500:
            raise OSError(errno.EIO, "Input/output error")
        return super().readinto(buffer) or 0


def test_a_bad_sector_is_a_gap(
    tmp_path: Path, write_stream: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk cannot read is told like damage, and reading goes on behind the segment."""
    written = write_stream(tmp_path, 60)

    def opened(folder: Folder, number: int, **options: Any) -> Any:
        if number == 2:
            return io.BufferedReader(_BadSector(folder.segment(2), "rb"))
        return open_segment(folder, number, **options)

    monkeypatch.setattr(follower, "open_segment", opened)
    gaps: list[Gap] = []
    reader, read = Follower(tmp_path, on_gap=gaps.append), []
    while found := reader.read():
        read += found
    assert ["the disk cannot read it" in gap.why for gap in gaps] == [True]
    assert [r for r in written if r[0] >> OFFSET_BITS != 2] == [
        r for r in read if r[0] >> OFFSET_BITS != 2
    ]
    assert reader.position >= written[-1][0]
    with pytest.raises(DamageError, match="the disk cannot read it"):
        Follower(tmp_path).read()
