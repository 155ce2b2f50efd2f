import re
from io import BytesIO

import pytest

from assay.errors import JournalError
from assay.journal.frames import encode_group
from assay.journal.segment import (
    SECTOR_BYTES,
    SEGMENT_HEAD_BYTES,
    SegmentHead,
    read_records,
    sound_end,
)

HEAD = SegmentHead(bytes(range(16)), 3, 41, 1_700_000_000_000, 900)
NAME = "00000007.journal"


def payload(i: int, size: int = 60) -> bytes:
    """Return a payload without zero bytes."""
    return bytes([1, 2, 3, i + 1]) + bytes((i * 7 + k) % 255 + 1 for k in range(size))


def segment(*groups: list[bytes]) -> tuple[bytes, list[int]]:
    """Return a segment in which each group was synced before the next, and the frames' starts."""
    data, starts = HEAD.encode(), [0]
    for group in groups:
        more, offsets = encode_group(group, len(data))
        starts += [len(data), *(len(data) + offset for offset in offsets)]
        data += more
    return data, starts


def check(data: bytes) -> int:
    """Check a last segment as opening the log does."""
    SegmentHead.decode(data, NAME)
    return sound_end(BytesIO(data), NAME, len(data))


THREE = [[payload(0), payload(1)], [payload(2)], [payload(3, 500), payload(4)]]


def test_head_round_trip() -> None:
    """A segment's head gives back what was put in."""
    assert SegmentHead.decode(HEAD.encode(), NAME) == HEAD


def test_newer_format_is_refused() -> None:
    """A segment of a later format is refused with both numbers."""
    data = bytearray(HEAD.encode())
    data[8] = 2
    with pytest.raises(JournalError, match=r"00000007\.journal.*format 2; accepted: 1"):
        SegmentHead.decode(bytes(data), NAME)


def test_records_are_read_in_order_and_from_an_offset() -> None:
    """Every record is read in order, and reading resumes at any record's offset."""
    data, _ = segment(*THREE)
    records = list(read_records(BytesIO(data), NAME, len(data)))
    assert [p for _, p in records] == [p for group in THREE for p in group]
    for i, (offset, _) in enumerate(records):
        assert list(read_records(BytesIO(data), NAME, len(data), offset)) == records[i:]


@pytest.mark.parametrize("mask", [1 << bit for bit in range(8)])
def test_each_flipped_byte_is_named(mask: int) -> None:
    """A flip anywhere, the last group included, is damage named with the frame it is in."""
    data, starts = segment(*THREE)
    assert check(data) == len(data)
    for at in range(len(data)):
        bad = bytearray(data)
        bad[at] ^= mask
        with pytest.raises(JournalError, match=re.escape(NAME)) as caught:
            check(bytes(bad))
        named = re.search(r"offset (\d+)", str(caught.value))
        assert named is not None
        assert int(named[1]) == max(start for start in starts if start <= at), at


def test_flip_in_an_earlier_segment_is_named() -> None:
    """A segment that is not the last is read to its end or refused, torn or not."""
    data, _ = segment(*THREE)
    for at in range(SEGMENT_HEAD_BYTES, len(data)):
        bad = bytearray(data)
        bad[at] ^= 4
        with pytest.raises(JournalError, match=r"00000007\.journal: damaged at offset \d+"):
            list(read_records(BytesIO(bytes(bad)), NAME, len(bad)))
    for end in range(len(data) - 40, len(data)):
        with pytest.raises(JournalError, match="damaged at offset"):
            list(read_records(BytesIO(data[:end]), NAME, end))


def test_torn_at_every_byte() -> None:
    """Cut anywhere in the last group, or filled with zeros from there, all before it is sound."""
    data, _ = segment(*THREE)
    keep = len(segment(*THREE[:2])[0])
    for end in range(keep, len(data)):
        assert check(data[:end]) == keep, end
        filled = data[:end] + bytes(2 * SECTOR_BYTES)
        assert check(filled) == keep, end


def test_missing_sector_before_written_ones() -> None:
    """A sector that never reached the disk in an unsynced group means an unfinished write."""
    data, _ = segment([payload(0)], [payload(1, 3000), payload(2)])
    keep = len(segment([payload(0)])[0])
    hole = data[:SECTOR_BYTES] + bytes(SECTOR_BYTES) + data[2 * SECTOR_BYTES :]
    assert check(hole) == keep


def test_missing_sector_that_was_synced() -> None:
    """The same hole is damage when a later group says that the bytes had been synced."""
    data, _ = segment([payload(0)], [payload(1, 3000), payload(2)], [payload(3)])
    hole = data[:SECTOR_BYTES] + bytes(SECTOR_BYTES) + data[2 * SECTOR_BYTES :]
    with pytest.raises(JournalError, match="damaged at offset"):
        check(hole)


def test_unsynced_groups_in_any_order() -> None:
    """Of two groups appended without a sync between, the second may survive without the first."""
    data, _ = segment([payload(0)])
    first, _ = encode_group([payload(1, 2000)], len(data))
    second, _ = encode_group([payload(2)], len(data))
    whole = data + first + second
    hole = whole[: 2 * SECTOR_BYTES] + bytes(SECTOR_BYTES) + whole[3 * SECTOR_BYTES :]
    assert check(hole) == len(data)
