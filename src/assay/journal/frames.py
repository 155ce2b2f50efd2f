"""Frames and groups: how payloads stand in a segment.

A *frame* is ``length u32 | CRC32C u32 | payload``; the checksum covers the four length bytes and
the payload.
A *group* is what one append writes: a frame of fixed size, the group's head, then one frame per
payload.
The head says how many bytes follow and how much of the segment was known to be on disk when it
was written: that is what tells a write that was cut short from a byte that changed later.
Everything is little-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from google_crc32c import extend, value

PAYLOAD_VERSION: Final = 1
"""First byte of every payload."""

PAYLOAD_BYTES_MIN: Final = 4
"""Version, kind, flags."""

PAYLOAD_BYTES_MAX: Final = 1 << 24

GROUP_KIND: Final = 0
"""Second byte of the payload of a group's head."""

FRAME: Final = Struct("<II")
FRAME_BYTES: Final = FRAME.size

_GROUP: Final = Struct("<BBHIIQ")

GROUP_HEAD_BYTES: Final = FRAME_BYTES + _GROUP.size

GROUP_LENGTH: Final = _GROUP.size.to_bytes(4, "little")
"""The four bytes that every group begins with."""


class GroupHead(NamedTuple):
    """What stands before the frames of one append.

    Attributes
    ----------
    records : int
        Frames that follow.
    body_bytes : int
        Bytes of those frames together.
    synced_bytes : int
        How much of this segment was on disk, synced, before this group was written.
    """

    records: int
    body_bytes: int
    synced_bytes: int


def checksum(length: bytes, payload: bytes) -> int:
    """Return the CRC32C of a frame: of its four length bytes, then its payload."""
    return int(extend(value(length), payload))


def encode_group(payloads: Sequence[bytes], synced_bytes: int) -> tuple[bytes, list[int]]:
    """Lay payloads out as one group.

    Returns
    -------
    data : bytes
        What is written.
    offsets : list of int
        Where each payload's frame begins, counted from the start of the group.
    """
    parts: list[bytes] = [b""]
    offsets: list[int] = []
    at = GROUP_HEAD_BYTES
    for payload in payloads:
        size = len(payload)
        assert PAYLOAD_BYTES_MIN <= size <= PAYLOAD_BYTES_MAX, size
        length = size.to_bytes(4, "little")
        parts += (length, extend(value(length), payload).to_bytes(4, "little"), payload)
        offsets.append(at)
        at += FRAME_BYTES + size
    body = at - GROUP_HEAD_BYTES
    head = _GROUP.pack(PAYLOAD_VERSION, GROUP_KIND, 0, len(payloads), body, synced_bytes)
    parts[0] = FRAME.pack(len(head), checksum(GROUP_LENGTH, head)) + head
    return b"".join(parts), offsets


def decode_group_head(data: bytes) -> GroupHead | None:
    """Return the head that `data` begins with; None if it is not a sound one."""
    if len(data) < GROUP_HEAD_BYTES or data[:4] != GROUP_LENGTH:
        return None
    head = data[FRAME_BYTES:GROUP_HEAD_BYTES]
    if checksum(GROUP_LENGTH, head) != int.from_bytes(data[4:FRAME_BYTES], "little"):
        return None
    version, kind, _flags, records, body_bytes, synced_bytes = _GROUP.unpack(head)
    if version != PAYLOAD_VERSION or kind != GROUP_KIND:
        return None
    return GroupHead(records, body_bytes, synced_bytes)


class BadFrameError(Exception):
    """A frame within a group is not sound; `offset` counts from the start of the body."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def decode_body(body: bytes, at: int) -> list[tuple[int, bytes]]:
    """Take a group's body apart.

    Parameters
    ----------
    body : bytes
        The frames of one group.
    at : int
        Offset of the body in its segment.

    Returns
    -------
    list of (int, bytes)
        Each frame's offset in the segment, and its payload.

    Raises
    ------
    BadFrameError
        At the first frame whose length or checksum is wrong.
    """
    out: list[tuple[int, bytes]] = []
    start, end = 0, len(body)
    while start < end:
        crc_at = start + 4
        payload_at = start + FRAME_BYTES
        length = body[start:crc_at]
        stop = payload_at + int.from_bytes(length, "little")
        payload = body[payload_at:stop]
        crc = int.from_bytes(body[crc_at:payload_at], "little")
        if stop > end or extend(value(length), payload) != crc:
            raise BadFrameError(start)
        out.append((at + start, payload))
        start = stop
    return out
