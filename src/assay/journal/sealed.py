"""A sealed segment: the same bytes in compressed blocks, any of which is read alone.

::

    header   magic 8 | format u32 | CRC32C u32 of the rest of the header | raw bytes u64 |
             bytes of a block u32 | blocks u32 | CRC32C of the table u32 | 4 zero |
             head of the segment 64                                          = 104 bytes
    table    per block: offset u64 | bytes u32 | CRC32C u32
    blocks   each one Zstandard frame; the last holds less than the others

A checksum covers a block as it lies on disk, so nothing is decompressed that is not as it was
written, and a block never becomes larger than the header says.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np
import zstandard
from google_crc32c import value
from numpy.typing import NDArray

from assay.errors import DamageError, JournalError
from assay.journal.segment import SegmentHead

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FORMAT: Final = 1
"""Version of the layout."""

BLOCK_BYTES: Final = 256 << 10
LEVEL: Final = 3
"""How segments are sealed; readers go by the header."""

_MAGIC: Final = b"ASSAYSLD"
_HEADER: Final = Struct("<8sIIQIII4x64s")
_CRC_END: Final = 16
_BLOCK_BYTES_MAX: Final = 16 << 20
_RAW_BYTES_MAX: Final = 1 << 40  # what an offset can name
_BLOCK: Final = np.dtype([("offset", "<u8"), ("bytes", "<u4"), ("crc", "<u4")])


class Sealed(io.RawIOBase):
    """Reads a sealed segment by offsets of the segment that it was made of.

    Parameters
    ----------
    path : Path
    zeros_for_damage : bool
        Give zeros for a block whose checksum is wrong, to look for what is sound behind it.

    Attributes
    ----------
    raw_bytes : int
        Size of the segment before it was compressed.
    head : SegmentHead

    Raises
    ------
    DamageError
        If the header or the table is not as it was written.
    JournalError
        If the file is of a format that this build does not read.
    FileNotFoundError
    """

    def __init__(self, path: Path, *, zeros_for_damage: bool = False) -> None:
        super().__init__()
        self._name, self._zeros = path.name, zeros_for_damage
        self._at, self._block, self._content = 0, -1, b""
        self._zstd = zstandard.ZstdDecompressor()
        self._file = path.open("rb")
        try:
            self._read_header()
        except BaseException:
            self._file.close()
            raise

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that reading may go on anywhere."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the compressed file."""
        return self._file.fileno()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset of the segment."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.raw_bytes}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what is left of the block that the offset lies in.

        Raises
        ------
        DamageError
            If the block is not as it was written.
        """
        view = memoryview(buffer)
        if self._at >= self.raw_bytes:
            return 0
        number, start = divmod(self._at, self._block_bytes)
        if number != self._block:
            self._content = self._decompress(number)
            self._block = number
        part = memoryview(self._content)[start : start + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    # --- inside ---------------------------------------------------------------------------------

    def _read_header(self) -> None:
        header = self._file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_MAGIC):
            raise self._damage(0, "it does not begin like a sealed segment")
        _, version, crc, raw_bytes, block_bytes, blocks, table_crc, head = _HEADER.unpack(header)
        if version != FORMAT:
            raise JournalError(f"{self._name}: has format {version}; accepted: {FORMAT}")
        if crc != value(header[_CRC_END:]):
            raise self._damage(0, "the header's checksum is wrong")
        if not (0 < block_bytes <= _BLOCK_BYTES_MAX and raw_bytes < _RAW_BYTES_MAX):
            raise self._damage(0, f"blocks of {block_bytes} bytes, {raw_bytes} in all")
        if blocks != -(-raw_bytes // block_bytes):
            raise self._damage(0, f"{blocks} blocks cannot hold {raw_bytes} bytes")
        if _HEADER.size + blocks * _BLOCK.itemsize > os.fstat(self._file.fileno()).st_size:
            raise self._damage(0, f"it is too short for {blocks} blocks")
        table = self._file.read(blocks * _BLOCK.itemsize)
        if len(table) != blocks * _BLOCK.itemsize or table_crc != value(table):
            raise self._damage(0, "the table's checksum is wrong")
        self.raw_bytes: int = raw_bytes
        self._block_bytes: int = block_bytes
        self._table: NDArray[np.void] = np.frombuffer(table, _BLOCK)
        self.head = SegmentHead.decode(head, self._name)

    def _decompress(self, number: int) -> bytes:
        try:
            return self._sound_block(number)
        except DamageError:
            if not self._zeros:
                raise
            return bytes(self._size(number))

    def _sound_block(self, number: int) -> bytes:
        start = number * self._block_bytes
        offset, size, crc = self._table[number].item()
        if size > 2 * self._block_bytes + 64:  # more than any content makes
            raise self._damage(start, f"a block has {size} bytes")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size or value(data) != crc:
            raise self._damage(start, "a block's checksum is wrong")
        try:
            # Asked for first: the library makes room for whatever size a frame claims.
            claims = zstandard.frame_content_size(data)
            if claims != self._size(number):
                raise self._damage(start, f"a block claims to hold {claims} bytes")
            return self._zstd.decompress(data)
        except zstandard.ZstdError:
            raise self._damage(start, "a block cannot be decompressed") from None

    def _size(self, number: int) -> int:
        return min(self._block_bytes, self.raw_bytes - number * self._block_bytes)

    def _damage(self, offset: int, what: str) -> DamageError:
        return DamageError(self._name, offset, what)


def write_sealed(
    file: BinaryIO, head: SegmentHead, raw_bytes: int, content: Iterable[bytes | memoryview]
) -> int:
    """Write a sealed segment.

    Parameters
    ----------
    file : BinaryIO
        Empty and seekable; not synced here.
    head : SegmentHead
    raw_bytes : int
        Size of the segment.
    content : iterable of bytes-like
        The segment cut into blocks of `BLOCK_BYTES`, of which only the last is shorter.

    Returns
    -------
    int
        Bytes written.
    """
    blocks = -(-raw_bytes // BLOCK_BYTES)
    table = np.zeros(blocks, _BLOCK)
    at = _HEADER.size + table.nbytes
    file.seek(at)
    zstd = zstandard.ZstdCompressor(level=LEVEL)
    number = -1
    for number, block in enumerate(content):
        data = zstd.compress(block)
        table[number] = at, len(data), value(data)
        file.write(data)
        at += len(data)
    assert number + 1 == blocks, (number, blocks)
    fields = (raw_bytes, BLOCK_BYTES, blocks, value(table.tobytes()), head.encode())
    header = _HEADER.pack(_MAGIC, FORMAT, 0, *fields)
    file.seek(0)
    file.write(_HEADER.pack(_MAGIC, FORMAT, value(header[_CRC_END:]), *fields) + table.tobytes())
    return at
