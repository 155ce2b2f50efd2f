import re
from io import BytesIO

import pytest

from assay.errors import DamageError, JournalError
from assay.journal import segment as segment_module
from assay.journal.frames import encode_group
from assay.journal.segment import (
    SECTOR_BYTES,
    SEGMENT_HEAD_BYTES,
    SegmentHead,
    group_start,
    next_sound_group,
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


def test_next_sound_group() -> None:
    """Whatever byte is damaged, reading can go on with the first group wholly behind it."""
    data, _ = segment(*THREE, [payload(9)])
    begins = [len(segment(*[*THREE, [payload(9)]][:i])[0]) for i in range(5)]
    for at in range(SEGMENT_HEAD_BYTES, len(data)):
        bad = bytearray(data)
        bad[at] ^= 16
        with pytest.raises(DamageError) as caught:
            list(read_records(BytesIO(bytes(bad)), NAME, len(bad)))
        assert (caught.value.file, caught.value.offset <= at) == (NAME, True)
        found = next_sound_group(BytesIO(bytes(bad)), caught.value.offset, len(bad))
        behind = [begin for begin in begins[:-1] if begin > at]
        assert found == (behind[0] if behind else None), at


def test_next_sound_group_at_every_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group is found wherever it lies in what is read at once, also across two pieces."""
    monkeypatch.setattr(segment_module, "_SEARCH_BYTES", 200)
    group, _ = encode_group([payload(1)], 0)
    for at in range(1, 500):
        data = (b"\x14\0\0\0" * 125)[:at] + group + b"\x14\0\0"
        assert next_sound_group(BytesIO(data), 0, len(data)) == at
        assert next_sound_group(BytesIO(data), at, len(data)) is None
        assert next_sound_group(BytesIO(data), 0, len(data) - 4) is None


def test_a_group_from_elsewhere_is_not_sound() -> None:
    """A group that says more had been synced than lies before it was not written there."""
    group, _ = encode_group([payload(1)], 500)
    assert next_sound_group(BytesIO(b"x" * 499 + group), 0, 499 + len(group)) is None
    assert next_sound_group(BytesIO(b"x" * 500 + group), 0, 500 + len(group)) == 500


def test_group_start_behind_damage() -> None:
    """The group of a record is found although a head before it is damaged; else that is named."""
    data, starts = segment(*THREE)
    third = len(segment(*THREE[:2])[0])
    bad = bytearray(data)
    bad[SEGMENT_HEAD_BYTES + 9] ^= 1
    assert group_start(BytesIO(bytes(bad)), NAME, starts[-1], len(bad)) == third
    bad[third + 9] ^= 1
    with pytest.raises(DamageError) as caught:
        group_start(BytesIO(bytes(bad)), NAME, starts[-1], len(bad))
    assert caught.value.offset == third
