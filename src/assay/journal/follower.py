"""Follows a journal that another process writes, without its lock, from any position on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from assay.errors import JournalError
from assay.journal.decision_record import stream_name
from assay.journal.folder import Folder
from assay.journal.log import OFFSET_BITS
from assay.journal.segment import SEGMENT_HEAD_BYTES, SegmentHead, group_start, read_groups

_OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1
_READ_AHEAD_BYTES: Final = 1 << 20


class Follower:
    """Reads each record once, in order, as it comes.

    A group that is being written is not there yet. Only new bytes are read, but for one look at
    the heads of a segment's groups when a new follower resumes within a group.

    Parameters
    ----------
    directory : Path
        The journal; a folder that does not exist yet is an empty one.
    position : int
        Where to go on: 0, or what a follower's or a stretch's position was.
    """

    def __init__(self, directory: Path, position: int = 0) -> None:
        self._folder = Folder(directory)
        self._position = position
        self._number = position >> OFFSET_BITS
        self._at = 0  # where the next group begins in that segment; 0: the segment is not entered
        self._inode = 0
        self._stream = ""

    @property
    def position(self) -> int:
        """Where to go on; give it to a new follower to resume. It never decreases."""
        return self._position

    @property
    def stream(self) -> str:
        """Name of the stream; ``""`` while the journal is empty."""
        if not self._stream and (numbers := self._numbers()):
            self._stream = stream_name(self._head(numbers[0]).stream)
        return self._stream

    def read(self, records_max: int = 65_536) -> list[tuple[int, bytes]]:
        """Return (position, payload) of whole, sound records from `position` on; [] if none yet.

        A group is given as a whole, so there may be more than `records_max`.

        Raises
        ------
        JournalError
            At the first damage, which names the file and the offset; or if the journal ends
            before `position`, or is another than it was.
        """
        out: list[tuple[int, bytes]] = []
        while len(out) < records_max and (self._at or self._enter()):
            end, last = self._end()
            self._read_groups(out, records_max, end, last=last)
            if last or self._at < end:
                break
            self._number, self._at = self._number + 1, 0
            self._position = self._number << OFFSET_BITS | SEGMENT_HEAD_BYTES
        return out

    def behind_bytes(self) -> int:
        """Return how many bytes of the journal are not yet read."""
        number, offset = self._position >> OFFSET_BITS, self._position & _OFFSET_MASK
        behind = sum(
            self._path(found).stat().st_size
            - (max(offset, SEGMENT_HEAD_BYTES) if found == number else SEGMENT_HEAD_BYTES)
            for found in self._numbers()
            if found >= number
        )
        return max(0, behind)

    def sync(self) -> None:
        """Make what was read durable, so that what is made of it never outlives it.

        The writer syncs a segment before it begins the next, so the last one read is enough.
        """
        if self._at:
            with self._path(self._number).open("rb") as file:
                os.fdatasync(file.fileno())

    # --- inside ---------------------------------------------------------------------------------

    def _path(self, number: int) -> Path:
        return self._folder.segment(number)

    def _numbers(self) -> list[int]:
        return self._folder.numbers() if self._folder.path.is_dir() else []

    def _head(self, number: int) -> SegmentHead:
        path = self._path(number)
        with path.open("rb") as file:
            return SegmentHead.decode(file.read(SEGMENT_HEAD_BYTES), path.name)

    def _enter(self) -> bool:
        """Find the position's place in its segment; False while the journal is empty."""
        numbers = self._numbers()
        if not self._position:
            if not numbers:
                return False
            self._number = numbers[0]
            self._position = self._number << OFFSET_BITS | SEGMENT_HEAD_BYTES
        if self._number not in numbers:
            raise self._other(f"segment {self._number:08d} is not there")
        stream = stream_name(self._head(self._number).stream)
        if self._stream not in {"", stream}:
            raise self._other(f"its stream is {stream} and was {self._stream}")
        self._stream = stream
        path, offset = self._path(self._number), self._position & _OFFSET_MASK
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            if offset > stat.st_size:
                raise self._other(f"{path.name} ends at {stat.st_size}")
            self._inode = stat.st_ino
            self._at = group_start(file, path.name, max(offset, SEGMENT_HEAD_BYTES), stat.st_size)
        return True

    def _end(self) -> tuple[int, bool]:
        """Return how far the segment can be read now, and whether it is the last."""
        path = self._path(self._number)
        # Looked for first: once the next segment is there, this one is whole and grows no more.
        last = not self._path(self._number + 1).exists()
        try:
            stat = path.stat()
        except FileNotFoundError:
            raise self._other(f"{path.name} is gone") from None
        whole = stat.st_size if last else self._head(self._number + 1).previous_bytes
        if stat.st_ino != self._inode:
            raise self._other(f"{path.name} is another file than before")
        if stat.st_size != whole:
            raise self._other(f"{path.name} has {stat.st_size} bytes and had {whole}")
        if whole < self._position & _OFFSET_MASK:
            raise self._other(f"{path.name} ends at {whole}")
        return whole, last

    def _read_groups(
        self, out: list[tuple[int, bytes]], records_max: int, end: int, *, last: bool
    ) -> None:
        """Add the records of the groups from here on, and go on behind each group."""
        if self._at >= end:
            return
        path, base = self._path(self._number), self._number << OFFSET_BITS
        with path.open("rb", buffering=_READ_AHEAD_BYTES) as file:
            for stop, records in read_groups(file, path.name, self._at, end, last=last):
                if self._at < self._position & _OFFSET_MASK:
                    self._resume(out, records)
                else:
                    out += [(base | offset, payload) for offset, payload in records]
                self._at, self._position = stop, base | stop
                if len(out) >= records_max:
                    return

    def _resume(self, out: list[tuple[int, bytes]], records: list[tuple[int, bytes]]) -> None:
        """Add what follows the position, which lies within a group, of that group's records."""
        base, from_offset = self._number << OFFSET_BITS, self._position & _OFFSET_MASK
        left = [(base | offset, payload) for offset, payload in records if offset >= from_offset]
        if not left or left[0][0] != self._position:
            raise self._other(f"no record begins at offset {from_offset}")
        out += left

    def _other(self, found: str) -> JournalError:
        return JournalError(
            f"{self._folder.path}: does not go on at position {self._position}: {found}; accepted: "
            "the journal that was read before, it was cut or replaced"
        )
