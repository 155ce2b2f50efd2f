"""A segment: one file of the journal, its head, and how it is read and checked.

Where a group is not sound, the segment's rest is either *unfinished* or *damaged*:

unfinished
    The process or the machine stopped before a sync ended, so nothing of it was acknowledged.
    Only the last segment can end like that. It is cut at the start of the group.
damaged
    Bytes changed that had been written. It is named with file and offset, and never skipped.

The rest is unfinished if nothing after it says that it had been synced, and either the file ends
before the group does, or a whole sector of it is zero (space the file system had given out but
not yet filled). Anything else is damage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct
from typing import BinaryIO, Final, Self

from google_crc32c import value

from assay.errors import DamageError, JournalError
from assay.journal.frames import (
    GROUP_HEAD_BYTES,
    GROUP_LENGTH,
    BadFrameError,
    GroupHead,
    decode_body,
    decode_group_head,
)

FORMAT: Final = 1
"""Version of the segment's layout."""

SECTOR_BYTES: Final = 512
"""The least that a disk writes as a whole."""

_MAGIC: Final = b"ASSAYJNL"
_HEAD: Final = Struct("<8sII16sQQqQ")
_GROUP_PATTERN: Final = re.compile(re.escape(GROUP_LENGTH) + rb"(?=.{4}\x01\x00)", re.DOTALL)
_SEARCH_BYTES: Final = 1 << 20

SEGMENT_HEAD_BYTES: Final = _HEAD.size


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """The first 64 bytes of a segment.

    Attributes
    ----------
    stream : bytes
        16 random bytes that name the scorer's stream.
    epoch : int
        Of the writer that made the segment.
    first_arrival : int
        Arrival number of the segment's first record.
    created_ms : int
        UTC milliseconds.
    previous_bytes : int
        Size of the segment before this one; 0 if this is the first ever.
    """

    stream: bytes
    epoch: int
    first_arrival: int
    created_ms: int
    previous_bytes: int

    def encode(self) -> bytes:
        """Return the bytes a segment begins with."""
        fields = (
            self.stream,
            self.epoch,
            self.first_arrival,
            self.created_ms,
            self.previous_bytes,
        )
        return _HEAD.pack(
            _MAGIC, FORMAT, _head_crc(_HEAD.pack(_MAGIC, FORMAT, 0, *fields)), *fields
        )

    @classmethod
    def decode(cls, data: bytes, name: str) -> Self:
        """Read the head of the segment called `name`.

        Raises
        ------
        DamageError
            If it is damaged.
        JournalError
            If it is of a format that this build does not read.
        """
        if len(data) < SEGMENT_HEAD_BYTES or data[:8] != _MAGIC:
            raise DamageError(name, 0, "it does not begin like a segment")
        _magic, version, crc, *fields = _HEAD.unpack_from(data)
        if version != FORMAT:
            raise JournalError(
                f"{name}: its head, at offset 0, names format {version}; accepted: {FORMAT}"
            )
        if crc != _head_crc(data):
            raise DamageError(name, 0, "the head's checksum is wrong")
        return cls(*fields)


def _head_crc(data: bytes) -> int:
    return int(value(data[:12] + data[16:SEGMENT_HEAD_BYTES]))


class _UnsoundError(Exception):
    """The group at `group` is not sound, and the fault is at `offset`."""

    def __init__(self, group: int, offset: int, what: str) -> None:
        super().__init__(what)
        self.group, self.offset, self.what = group, offset, what


def _groups(
    file: BinaryIO, end: int, from_offset: int, start: int = SEGMENT_HEAD_BYTES
) -> Iterator[tuple[int, list[tuple[int, bytes]]]]:
    """Yield each group's end and its records, from the first that reaches past `from_offset`.

    Looking begins at `start`, where a group does.
    """
    at = start
    file.seek(at)
    while at < end:
        head = decode_group_head(file.read(min(GROUP_HEAD_BYTES, end - at)))
        if head is None:
            raise _UnsoundError(at, at, "a group's head is not sound")
        stop = at + GROUP_HEAD_BYTES + head.body_bytes
        if stop > end:
            raise _UnsoundError(at, at, f"a group reaches to {stop} but the file ends at {end}")
        if stop <= from_offset:
            file.seek(stop)
        else:
            yield stop, _body(file.read(head.body_bytes), head, at)
        at = stop


def _body(body: bytes, head: GroupHead, group: int) -> list[tuple[int, bytes]]:
    at = group + GROUP_HEAD_BYTES
    try:
        records = decode_body(body, at)
    except BadFrameError as bad:
        what = "a record's length or checksum is wrong"
        raise _UnsoundError(group, at + bad.offset, what) from None
    if len(records) != head.records:
        what = f"a group holds {len(records)} records, its head says {head.records}"
        raise _UnsoundError(group, group, what)
    return records


def read_records(
    file: BinaryIO, name: str, end: int, from_offset: int = 0, start: int = SEGMENT_HEAD_BYTES
) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, payload) of every record of a segment from an offset to `end`, in order.

    Looking begins at `start`, where a group does.

    Raises
    ------
    DamageError
        At the first damage.
    """
    try:
        for _stop, records in _groups(file, end, from_offset, start):
            if records and records[0][0] < from_offset:
                yield from (record for record in records if record[0] >= from_offset)
            else:
                yield from records
    except _UnsoundError as bad:
        raise _damage(name, bad) from None


def read_groups(
    file: BinaryIO, name: str, start: int, end: int, *, last: bool
) -> Iterator[tuple[int, list[tuple[int, bytes]]]]:
    """Yield (end, records) of every group from `start`, where one begins, to `end`.

    In the last segment an unfinished write ends them.

    Raises
    ------
    DamageError
        At the first damage.
    """
    try:
        yield from _groups(file, end, start, start)
    except _UnsoundError as bad:
        file.seek(bad.group)
        if not last or not _is_unfinished(file.read(end - bad.group), bad.group):
            raise _damage(name, bad) from None


def group_start(file: BinaryIO, name: str, offset: int, end: int) -> int:
    """Return where the group begins that holds an offset, at which a group or a record begins.

    Raises
    ------
    DamageError
        If what lies before the offset is damaged, and no sound group up to the offset follows.
    """
    file.seek(offset)
    # No record is as short as a group's head, so the two cannot be taken for each other.
    if offset >= end or decode_group_head(file.read(GROUP_HEAD_BYTES)):
        return offset
    at = SEGMENT_HEAD_BYTES
    while at < offset:
        file.seek(at)
        head = decode_group_head(file.read(GROUP_HEAD_BYTES))
        stop = at + GROUP_HEAD_BYTES + head.body_bytes if head else next_sound_group(file, at, end)
        if stop is None or (head is None and stop > offset):
            raise _damage(name, _UnsoundError(at, at, "a group's head is not sound"))
        if stop > offset:
            return at
        at = stop
    return at


def sound_end(file: BinaryIO, name: str, end: int, start: int = SEGMENT_HEAD_BYTES) -> int:
    """Return where the sound part of the last segment ends: what follows is an unfinished write.

    Looking begins at `start`, where a group does.

    Raises
    ------
    DamageError
        If what follows is not an unfinished write but damage.
    """
    try:
        for _ in _groups(file, end, 0, start):
            pass
    except _UnsoundError as bad:
        file.seek(bad.group)
        if not _is_unfinished(file.read(end - bad.group), bad.group):
            raise _damage(name, bad) from None
        return bad.group
    return end


def next_sound_group(file: BinaryIO, after: int, end: int) -> int | None:
    """Return where the first sound group begins that begins after an offset; None if none does.

    Sound is a group whose head and whole body are, so that reading can go on behind damage.

    Parameters
    ----------
    file : BinaryIO
        A segment; offsets are raw ones.
    after : int
        Where damage was found.
    end : int
        Where the segment ends.

    Raises
    ------
    DamageError
        If a block of a sealed segment cannot be read.
    """
    at = after + 1
    while end - at >= GROUP_HEAD_BYTES:
        file.seek(at)
        data = file.read(min(_SEARCH_BYTES, end - at))
        for match in _GROUP_PATTERN.finditer(data):
            if _is_sound_group(file, at + match.start(), end):
                return at + match.start()
        at += max(1, len(data) - GROUP_HEAD_BYTES + 1)
    return None


def _is_sound_group(file: BinaryIO, at: int, end: int) -> bool:
    file.seek(at)
    head = decode_group_head(file.read(GROUP_HEAD_BYTES))
    if head is None or head.synced_bytes > at or at + GROUP_HEAD_BYTES + head.body_bytes > end:
        return False
    try:
        _body(file.read(head.body_bytes), head, at)
    except _UnsoundError:
        return False
    return True


def _damage(name: str, bad: _UnsoundError) -> DamageError:
    return DamageError(name, bad.offset, bad.what)


def _is_unfinished(rest: bytes, at: int) -> bool:
    if _synced_by_later(rest) > at:
        return False
    return _ends_early(rest) or _has_zero_sector(rest, at)


def _synced_by_later(rest: bytes) -> int:
    """Return the largest `synced_bytes` of the sound group heads after the first byte."""
    found = (
        decode_group_head(rest[match.start() : match.start() + GROUP_HEAD_BYTES])
        for match in _GROUP_PATTERN.finditer(rest, 1)
    )
    return max((head.synced_bytes for head in found if head), default=0)


def _ends_early(rest: bytes) -> bool:
    if len(rest) < GROUP_HEAD_BYTES:
        return GROUP_LENGTH.startswith(rest[:4])
    head = decode_group_head(rest)
    return head is not None and len(rest) < GROUP_HEAD_BYTES + head.body_bytes


def _has_zero_sector(rest: bytes, at: int) -> bool:
    first = SECTOR_BYTES - at % SECTOR_BYTES
    cuts = [0, *range(first, len(rest), SECTOR_BYTES), len(rest)]
    sectors = (rest[a:b] for a, b in pairwise(cuts))
    return any(sector.count(0) == len(sector) for sector in sectors)
