"""Sealed segments: the same bytes, whatever is asked for, and nothing of what was changed."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest
import zstandard
from google_crc32c import value

from assay.errors import DamageError, JournalError
from assay.journal.sealed import BLOCK_BYTES, Sealed, write_sealed
from assay.journal.segment import SegmentHead
from assay.journal.segment_file import open_sealed

HEAD = SegmentHead(bytes(range(16)), 3, 41, 1_700_000_000_000, 900)
TABLE_AT = 104


def make(path: Path, content: bytes) -> None:
    blocks = [content[at : at + BLOCK_BYTES] for at in range(0, len(content), BLOCK_BYTES)]
    with path.open("w+b") as file:
        assert write_sealed(file, HEAD, len(content), blocks) == file.seek(0, os.SEEK_END)


@pytest.fixture
def content() -> bytes:
    rng = random.Random(5)
    words = [rng.randbytes(rng.randrange(1, 30)) for _ in range(500)]
    return b"".join(rng.choices(words, k=50_000))[: 2 * BLOCK_BYTES + 12_345]


def test_any_part_is_read(tmp_path: Path, content: bytes) -> None:
    """Whatever is sought and however much is read, it is what was sealed."""
    path = tmp_path / "00000001.sealed"
    make(path, content)
    rng = random.Random(1)
    with open_sealed(path) as file:
        assert file.read() == content
        for _ in range(200):
            at = rng.randrange(len(content) + 10)
            size = rng.choice([0, 1, 28, 5000, BLOCK_BYTES, 3 * BLOCK_BYTES])
            assert file.seek(at) == at
            assert file.read(size) == content[at : at + size]
        assert file.seek(-5, os.SEEK_END) == len(content) - 5
    with Sealed(path) as sealed:
        assert (sealed.head, sealed.raw_bytes) == (HEAD, len(content))
    assert path.stat().st_size < len(content)


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    """A byte that changed anywhere is named by its offset, before anything is decompressed."""
    path = tmp_path / "00000001.sealed"
    make(path, b"abcdefgh" * 40)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(JournalError, match=r"00000001.sealed"), open_sealed(path) as file:
            file.read()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(DamageError), open_sealed(path) as file:
            file.read()


def test_a_damaged_block_leaves_the_others(tmp_path: Path, content: bytes) -> None:
    """The other blocks are read; the damaged one is an error, or zeros for who looks behind it."""
    path = tmp_path / "00000001.sealed"
    make(path, content)
    data = bytearray(path.read_bytes())
    second = struct.unpack_from("<Q", data, TABLE_AT + 16)[0]
    data[second + 9] ^= 1
    path.write_bytes(data)
    with open_sealed(path) as file:
        assert file.read(BLOCK_BYTES) == content[:BLOCK_BYTES]
        with pytest.raises(DamageError, match="a block's checksum is wrong") as caught:
            file.read(1)
        assert (caught.value.file, caught.value.offset) == (path.name, BLOCK_BYTES)
        file.seek(2 * BLOCK_BYTES)
        assert file.read() == content[2 * BLOCK_BYTES :]
    with open_sealed(path, zeros_for_damage=True) as file:
        assert file.read() == (
            content[:BLOCK_BYTES] + bytes(BLOCK_BYTES) + content[2 * BLOCK_BYTES :]
        )


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """A format of the future is refused with both numbers, not taken for damage."""
    path = tmp_path / "00000001.sealed"
    make(path, b"x" * 100)
    data = bytearray(path.read_bytes())
    data[8] = 2
    path.write_bytes(data)
    with pytest.raises(JournalError, match=r"has format 2; accepted: 1"):
        Sealed(path)


@pytest.mark.parametrize("claim", [1 << 33, 101])
def test_a_block_never_becomes_larger_than_it_says(tmp_path: Path, claim: int) -> None:
    """A block with sound checksums that would fill the memory is refused before it does."""
    path = tmp_path / "00000001.sealed"
    make(path, b"x" * 100)
    data = bytearray(path.read_bytes())
    # A frame of one repeated byte that names any size: magic, 8-byte size, one RLE block.
    frame = struct.pack("<IBQ", zstandard.MAGIC_NUMBER, 0xE0, claim)
    frame += (claim % (1 << 17) << 3 | 2 | 1).to_bytes(3, "little") + b"x"
    table = struct.pack("<QII", TABLE_AT + 16, len(frame), value(frame))
    fields = bytearray(data[16:TABLE_AT])
    struct.pack_into("<I", fields, 16, value(table))
    head = bytes(data[:12]) + struct.pack("<I", value(bytes(fields))) + bytes(fields)
    path.write_bytes(head + table + frame)
    with (
        pytest.raises(DamageError, match=f"claims to hold {claim} bytes"),
        open_sealed(path) as file,
    ):
        file.read()


def test_hostile_sizes_are_refused(tmp_path: Path) -> None:
    """A header with sound checksums and senseless sizes is refused."""
    path = tmp_path / "00000001.sealed"
    make(path, b"x" * 100)
    data = path.read_bytes()
    for at, layout, bad in ((16, "<Q", 1 << 50), (24, "<I", 1 << 30), (24, "<I", 0), (28, "<I", 9)):
        changed = bytearray(data)
        struct.pack_into(layout, changed, at, bad)
        struct.pack_into("<I", changed, 12, value(bytes(changed[16:TABLE_AT])))
        path.write_bytes(changed)
        with pytest.raises(DamageError):
            Sealed(path)


def test_a_table_that_the_file_cannot_hold_is_not_read(tmp_path: Path) -> None:
    """A small file that names four thousand million blocks is refused before they are read."""
    path = tmp_path / "00000001.sealed"
    make(path, b"x" * 100)
    data = bytearray(path.read_bytes())
    struct.pack_into("<QII", data, 16, 2**32 - 1, 1, 2**32 - 1)
    struct.pack_into("<I", data, 12, value(bytes(data[16:TABLE_AT])))
    path.write_bytes(data)
    with pytest.raises(DamageError, match="too short for 4294967295 blocks"):
        Sealed(path)
