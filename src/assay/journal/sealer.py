"""Seals segments: checks every record, compresses, indexes, and only then removes the original."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from assay import durable
from assay.clock import Clock
from assay.errors import DamageError, JournalError
from assay.journal.folder import Folder
from assay.journal.index import SegmentIndex
from assay.journal.index_builder import IndexBuilder
from assay.journal.index_files import boot_before
from assay.journal.quarantine import quarantine, quarantined
from assay.journal.sealed import BLOCK_BYTES, write_sealed
from assay.journal.segment import SEGMENT_HEAD_BYTES, SegmentHead, read_groups
from assay.journal.segment_file import open_sealed, segment_bytes, segment_head

__all__ = ["SealedSegment", "quarantined", "seal", "sealable", "verify"]


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """What sealing a segment made of it.

    Attributes
    ----------
    number : int
    records : int
    raw_bytes : int
        Size before.
    sealed_bytes : int
        Size after, with the index.
    """

    number: int
    records: int
    raw_bytes: int
    sealed_bytes: int


def sealable(folder: Folder) -> list[int]:
    """Return the segments that are whole, not sealed yet and not quarantined, oldest first."""
    numbers = folder.numbers()
    kept = set(folder.marked())
    return [n for n in numbers[:-1] if n not in kept and folder.segment(n).exists()]


def seal(folder: Folder, number: int, clock: Clock) -> SealedSegment | None:
    """Put a compressed segment and its index in the place of a segment that has a successor.

    The caller is the only one who seals in this folder. What was written is read back and every
    record checked before the original goes. Stopped anywhere, it can be done again.

    Returns
    -------
    SealedSegment or None
        None if the segment is damaged: it is quarantined instead.

    Raises
    ------
    JournalError
        If what was written cannot be read back, or the segment is of another format.
    OSError
        If the disk refuses. The segment is as it was.
    """
    draft = folder.path / f".{folder.sealed(number).name}"
    try:
        index = _write(folder, number, draft)
    except DamageError as bad:
        quarantine(folder, number, bad, clock.now_ms())
        return None
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    folder.segment(number).unlink()
    folder.sync()
    sizes = [path.stat().st_size for path in (folder.sealed(number), folder.index(number))]
    return SealedSegment(number, len(index.entries), segment_bytes(folder, number), sum(sizes))


def verify(folder: Folder, number: int, clock: Clock) -> bool:
    """Read a sealed segment through; one that has become damaged is quarantined.

    Raises
    ------
    FileNotFoundError
        If retention has removed it.
    OSError
        If the disk refuses in another way than by a bad sector.
    """
    name = folder.sealed(number).name
    try:
        with open_sealed(folder.sealed(number)) as file:
            while file.read(BLOCK_BYTES):
                pass
    except DamageError as bad:
        quarantine(folder, number, bad, clock.now_ms())
        return False
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        quarantine(folder, number, DamageError(name, 0, "the disk cannot read it"), clock.now_ms())
        return False
    return True


def _write(folder: Folder, number: int, draft: Path) -> SegmentIndex:
    """Write both files durably under their names; DamageError only for the segment itself."""
    path = folder.segment(number)
    with path.open("rb") as raw:
        end = _end(folder, number, raw)
        head = SegmentHead.decode(raw.read(SEGMENT_HEAD_BYTES), path.name)
        with open(draft, "w+b", opener=_private) as file:
            write_sealed(file, head, end, _blocks(raw, end))
            file.flush()
            os.fsync(file.fileno())
        try:
            index = _read_back(folder, number, draft, end)
        except DamageError as bad:
            _check(raw, path.name, end)
            raise JournalError(f"{path.name}: sealing it failed: {bad}") from bad
    durable.replace(folder.index(number), index.encode())
    draft.replace(folder.sealed(number))
    folder.sync()
    return index


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _end(folder: Folder, number: int, raw: BinaryIO) -> int:
    """Return where the segment ends; a writer that had been replaced may have added to it."""
    size = os.fstat(raw.fileno()).st_size
    try:
        had = segment_head(folder, number + 1).previous_bytes
    except DamageError:
        return size  # told of when its own turn comes
    if size < had:
        what = f"it has {size} bytes and had {had}"
        raise DamageError(folder.segment(number).name, size, what)
    return had


def _blocks(raw: BinaryIO, end: int) -> Iterator[bytes]:
    raw.seek(0)
    for at in range(0, end, BLOCK_BYTES):
        yield raw.read(min(BLOCK_BYTES, end - at))


def _read_back(folder: Folder, number: int, draft: Path, end: int) -> SegmentIndex:
    builder = IndexBuilder(number, boot_before(folder, number))
    name = folder.segment(number).name
    with open_sealed(draft) as file:
        for _, records in read_groups(file, name, SEGMENT_HEAD_BYTES, end, last=False):
            builder.add(records)
    return builder.index()


def _check(raw: BinaryIO, name: str, end: int) -> None:
    for _ in read_groups(raw, name, SEGMENT_HEAD_BYTES, end, last=False):
        pass
