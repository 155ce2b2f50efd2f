"""One entity's memory in a file: the pages in use, one range after the other.

Loading reads them into the reserved memory and checks them on the way. Mapping the file there
instead was measured: it is there sooner, but each page is then copied at its first event, which
costs far more than one read of all (docs/features.md has the figures), and an error of the disk
would end the process where a read can be answered with an older snapshot.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from xxhash import xxh3_128

from assay.errors import DamageError
from assay.features.manifest import Section
from assay.features.plan import SHARDS
from assay.features.state import EntityState

SYNC_BYTES: Final = 16 << 20
"""How much is written before it is synced: the journal's sync, on the same disk, waits for it."""

_SLICE_BYTES: Final = 1 << 20


def section_bytes(entity: EntityState) -> int:
    """Return how large an entity's file is."""
    return sum(end - begin for begin, end in entity.ranges())


def write_section(path: Path, entity: EntityState, digest: str) -> Section:
    """Write an entity's memory durably, straight from the arrays; the folder is the caller's.

    Raises
    ------
    OSError
        If the disk is full or fails.
    """
    at, synced, sums = 0, 0, []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for begin, end in entity.ranges():
            hashed = xxh3_128()
            for start in range(begin, end, _SLICE_BYTES):
                data = entity.memory.data[start : min(start + _SLICE_BYTES, end)]
                hashed.update(data)
                at += _write(fd, data, at)
                if at - synced >= SYNC_BYTES:
                    os.fdatasync(fd)
                    synced = at
            sums.append(hashed.hexdigest())
        os.fsync(fd)
    finally:
        os.close(fd)
    pool = tuple((a, b, c) for a, b, c in entity.pool.tolist())
    return Section(digest, pool, tuple(sums), at)


def _write(fd: int, data: memoryview, at: int) -> int:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], at + done)
    return done


@dataclass(frozen=True)
class Part:
    """A range of a section: where it stands in the file, where it goes, and its checksum."""

    path: Path
    at: int
    memory: memoryview
    sum: str

    def read(self) -> None:
        """Bring the range into memory.

        Raises
        ------
        DamageError
            If it is cut, its checksum differs, or it cannot be read.
        """
        hashed, done = xxh3_128(), 0
        fd = _open(self.path)
        try:
            while done < len(self.memory):
                into = self.memory[done : done + _SLICE_BYTES]
                got = os.preadv(fd, [into], self.at + done)
                if got == 0:
                    raise self._damaged(done, "it ends here")
                hashed.update(into[:got])
                done += got
        except OSError as error:
            raise self._damaged(done, str(error.strerror)) from None
        finally:
            os.close(fd)
        if hashed.hexdigest() != self.sum:
            raise self._damaged(0, f"the checksum of {done} bytes is another")

    def _damaged(self, done: int, what: str) -> DamageError:
        return DamageError(_name(self.path), self.at + done, what)


def section_parts(path: Path, entity: EntityState, section: Section) -> list[Part]:
    """Return what is to be read into an empty entity, whose counts are there after this.

    Raises
    ------
    DamageError
        If the counts are impossible, or the file is missing, of another size or not readable.
    """
    _fill_pool(path, entity, section)
    parts, at = [], 0
    ranges = entity.ranges()
    size, want = _size(path), sum(end - begin for begin, end in ranges)
    if not size == want == section.bytes or len(ranges) != len(section.sums):
        raise DamageError(_name(path), min(size, want), f"{size} bytes, not {section.bytes}")
    for (begin, end), total in zip(ranges, section.sums, strict=True):
        parts.append(Part(path, at, entity.memory.data[begin:end], total))
        at += end - begin
    return parts


def _fill_pool(path: Path, entity: EntityState, section: Section) -> None:
    pool = np.array(section.pool, np.int64)
    layout = entity.layout
    most = (layout.slots_per_shard, layout.blocks_per_shard, SHARDS * layout.blocks_per_shard)
    if pool.shape != (SHARDS, 3) or (pool < 0).any() or (pool > most).any():
        raise DamageError(_name(path), 0, "its counts are beyond its bounds")
    entity.pool[:] = pool


def _size(path: Path) -> int:
    fd = _open(path)
    try:
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise DamageError(_name(path), 0, "it is missing") from None
    except OSError as error:
        raise DamageError(_name(path), 0, str(error.strerror)) from None


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
