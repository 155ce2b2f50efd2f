import pytest
from google_crc32c import value
from hypothesis import given
from hypothesis import strategies as st

from assay.journal.frames import (
    GROUP_HEAD_BYTES,
    BadFrameError,
    checksum,
    decode_body,
    decode_group_head,
    encode_group,
)

PAYLOADS = st.lists(st.binary(min_size=4, max_size=300), max_size=8)


@given(PAYLOADS, st.integers(0, 2**40))
def test_group_round_trip(payloads: list[bytes], synced: int) -> None:
    """A group gives back its payloads, and each at the offset that was promised."""
    data, offsets = encode_group(payloads, synced)
    head = decode_group_head(data)
    assert head == (len(payloads), len(data) - GROUP_HEAD_BYTES, synced)
    records = decode_body(data[GROUP_HEAD_BYTES:], GROUP_HEAD_BYTES)
    assert records == list(zip(offsets, payloads, strict=True))


def test_checksum_covers_length() -> None:
    """The checksum is the plain CRC32C of length and payload together."""
    assert checksum(b"\x04\x00\x00\x00", b"abcd") == value(b"\x04\x00\x00\x00abcd")


def test_zeros_are_no_group() -> None:
    """Space that the file system left zero is never taken for a group."""
    assert decode_group_head(bytes(64)) is None


@given(PAYLOADS.filter(bool), st.data())
def test_flip_in_body_is_found(payloads: list[bytes], data: st.DataObject) -> None:
    """A flipped bit in a body is found in the frame that holds it."""
    group, offsets = encode_group(payloads, 0)
    at = data.draw(st.integers(GROUP_HEAD_BYTES, len(group) - 1))
    bad = bytearray(group)
    bad[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BadFrameError) as caught:
        decode_body(bytes(bad[GROUP_HEAD_BYTES:]), GROUP_HEAD_BYTES)
    enclosing = max(offset for offset in offsets if offset <= at)
    assert caught.value.offset + GROUP_HEAD_BYTES == enclosing
