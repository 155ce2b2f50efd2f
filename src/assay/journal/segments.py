"""The segments of a journal as its writer knows them: checked at opening, then open for reading."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, Final

from assay.errors import DamageError, JournalError
from assay.journal.folder import Folder
from assay.journal.frames import (
    FRAME,
    FRAME_BYTES,
    PAYLOAD_BYTES_MAX,
    PAYLOAD_BYTES_MIN,
    checksum,
)
from assay.journal.segment import (
    SEGMENT_HEAD_BYTES,
    SegmentHead,
    group_start,
    read_records,
    sound_end,
)
from assay.journal.segment_file import open_segment, segment_bytes, segment_head

OFFSET_BITS: Final = 40
"""A position is ``segment number << 40 | offset``."""

OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1
READ_AHEAD_BYTES: Final = 1 << 20


class Segments:
    """Sizes of all segments, sealed or not; used by whoever holds the writer's lock.

    Parameters
    ----------
    folder : Folder
    stream : bytes
        That every head must name.
    epoch : int
        The writer's; every head must have an older one.
    checked : int
        What lies before this position is not checked, and no damage there matters.
        A position that the journal does not reach counts as 0.

    Attributes
    ----------
    oldest, newest : int
        Numbers of the first and the last segment; 1 and 0 when there is none.
    cut_bytes : int
        How much of an unfinished write was cut off.
    cut_position : int
        Where it was cut; 0 if it was not.

    Raises
    ------
    DamageError
        If a head or the last segment is damaged.
    JournalError
        If a segment is missing or belongs to another stream.
    """

    def __init__(self, folder: Folder, stream: bytes, epoch: int, checked: int) -> None:
        self._folder, self._stream, self._epoch = folder, stream, epoch
        self._sizes: dict[int, int] = {}
        self.cut_bytes = self.cut_position = 0
        numbers = folder.numbers()
        self.oldest, self.newest = (numbers[0], numbers[-1]) if numbers else (1, 0)
        if numbers:
            self._check(checked)

    def size(self, number: int) -> int:
        """Return the size of a segment before compression; 0 if there is none.

        Raises
        ------
        JournalError
            If retention has removed it.
        """
        if number not in self._sizes and self.oldest <= number <= self.newest:
            try:
                self._sizes[number] = segment_bytes(self._folder, number)
            except FileNotFoundError:
                raise self._gone(number) from None
        return self._sizes.get(number, 0)

    def grow(self, number: int, size: int) -> None:
        """Note that the newest segment, or one more, holds so many bytes."""
        self._sizes[number] = size
        self.newest = number

    def open(self, number: int, *, buffering: int = READ_AHEAD_BYTES) -> BinaryIO:
        """Open a segment for reading.

        Raises
        ------
        JournalError
            If retention has removed it.
        """
        try:
            return open_segment(self._folder, number, buffering=buffering)
        except FileNotFoundError:
            raise self._gone(number) from None

    def read(self, position: int) -> bytes:
        """Return the payload at a position; `Log.read` says what it raises."""
        number, offset = position >> OFFSET_BITS, position & OFFSET_MASK
        name = self.name(number)
        if offset + FRAME_BYTES > self.size(number):
            raise JournalError(f"{name}: has no record at offset {offset}")
        with self.open(number, buffering=0) as file:
            file.seek(offset)
            head = file.read(FRAME_BYTES)
            length, crc = FRAME.unpack(head)
            if PAYLOAD_BYTES_MIN <= length <= PAYLOAD_BYTES_MAX:
                payload = file.read(length)
                if len(payload) == length and checksum(head[:4], payload) == crc:
                    return payload
        raise DamageError(name, offset, "a checksum is wrong, or no record begins there")

    def scan(self, from_position: int) -> Iterator[tuple[int, bytes]]:
        """Yield every (position, payload) from a position on; `Log.scan` says what it raises."""
        first, from_offset = from_position >> OFFSET_BITS, from_position & OFFSET_MASK
        for number in range(max(first, self.oldest), self.newest + 1):
            base, end = number << OFFSET_BITS, self.size(number)
            name = self.name(number)
            with self.open(number) as file:
                after, start = 0, SEGMENT_HEAD_BYTES
                if number == first:
                    after = max(from_offset, SEGMENT_HEAD_BYTES)
                    start = group_start(file, name, after, end)
                for offset, payload in read_records(file, name, end, after, start):
                    yield base | offset, payload

    def name(self, number: int) -> str:
        """Return what a segment is called in messages."""
        return self._folder.segment(number).name

    def _gone(self, number: int) -> JournalError:
        return JournalError(f"{self.name(number)} is gone: older than journal_days, or removed")

    # --- opening ------------------------------------------------------------------------------

    def _check(self, checked: int) -> None:
        """Check the heads from a position on, and cut the last segment's unfinished end."""
        last = self.newest
        if not self._folder.segment(last).exists():  # only what has a successor is sealed
            raise JournalError(f"{self.name(last + 1)} is missing; restore it from a copy")
        if checked > (last << OFFSET_BITS | segment_bytes(self._folder, last)):
            checked = 0
        epoch = 0
        for number in range(max(self.oldest, checked >> OFFSET_BITS), last + 1):
            self._sizes[number] = segment_bytes(self._folder, number)
            try:
                head = segment_head(self._folder, number)
            except DamageError:
                if number << OFFSET_BITS >= checked:
                    raise
                continue
            self._check_head(head, number, epoch)
            epoch = head.epoch
        start = checked & OFFSET_MASK if checked >> OFFSET_BITS == last else 0
        self._cut(last, max(start, SEGMENT_HEAD_BYTES))

    def _check_head(self, head: SegmentHead, number: int, epoch: int) -> None:
        name, before = self.name(number), self._folder.segment(number - 1)
        if head.stream != self._stream:
            raise JournalError(f"{name}: belongs to another stream, {head.stream.hex()}")
        if not epoch <= head.epoch < self._epoch:
            raise JournalError(
                f"{name}: has epoch {head.epoch}; accepted: {epoch} to {self._epoch - 1}"
            )
        whole, size = head.previous_bytes, self._sizes.get(number - 1, head.previous_bytes)
        if size > whole and before.exists():
            # A writer that was taken over added this in its last moment: nobody was told of it.
            self._truncate(number - 1, whole)
        elif size != whole:
            raise DamageError(before.name, min(size, whole), f"it has {size} bytes and had {whole}")

    def _cut(self, number: int, start: int) -> None:
        path, size = self._folder.segment(number), self._sizes[number]
        with path.open("rb", buffering=READ_AHEAD_BYTES) as file:
            # After a failed sync the cache may hold what the disk does not: read the disk.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            end = sound_end(file, path.name, size, group_start(file, path.name, start, size))
        self._truncate(number, end)

    def _truncate(self, number: int, end: int) -> None:
        with self._folder.segment(number).open("r+b") as file:
            if end < self._sizes[number]:
                self.cut_bytes = self._sizes[number] - end
                self.cut_position = number << OFFSET_BITS | end
                os.ftruncate(file.fileno(), end)
            os.fsync(file.fileno())
        self._sizes[number] = end
