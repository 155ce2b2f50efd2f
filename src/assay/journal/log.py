"""The log: payloads appended in groups, durable after a sync, read back by position."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from assay import durable
from assay.clock import Clock
from assay.errors import JournalError
from assay.journal.entries import first_arrival
from assay.journal.folder import Folder
from assay.journal.frames import (
    FRAME,
    FRAME_BYTES,
    PAYLOAD_BYTES_MAX,
    PAYLOAD_BYTES_MIN,
    checksum,
    encode_group,
)
from assay.journal.segment import SEGMENT_HEAD_BYTES, SegmentHead, read_records, sound_end
from assay.journal.writer_lock import WriterLock

OFFSET_BITS: Final = 40
"""A position is ``segment number << 40 | offset``."""

_OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1
_READ_AHEAD_BYTES: Final = 1 << 20
_CAUSES: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file may not grow further",
    errno.EIO: "the disk reports an error",
}


def _cause(error: OSError) -> str:
    return _CAUSES.get(error.errno or 0) or os.strerror(error.errno or 0)


class Log:
    """An append-only stream of payloads in segment files.

    One thread appends and syncs; any thread reads.
    A failed write or sync is never tried again, because after it nobody knows what the disk
    holds: the log stops, every later append and sync fails, and the process must restart.

    Attributes
    ----------
    cut_bytes : int
        How much of an unfinished write opening cut off; 0 after a clean stop.
    cut_position : int
        Where it was cut; 0 if it was not.
    """

    def __init__(self, folder: Folder, lock: WriterLock, clock: Clock, segment_bytes: int) -> None:
        self._folder, self._lock, self._clock = folder, lock, clock
        self._segment_bytes = segment_bytes
        self._failure = ""
        self._fd = -1
        self.cut_bytes = self.cut_position = 0
        self._sizes = self._check_segments()
        self._number = max(self._sizes, default=0)
        self._end = self._synced = self._sizes.get(self._number, 0)

    @classmethod
    def open(
        cls,
        directory: Path,
        clock: Clock,
        *,
        segment_bytes: int = 256 << 20,
        stream: bytes | None = None,
    ) -> Self:
        """Take the writer's lock, check what is there, and cut off an unfinished write.

        Parameters
        ----------
        directory : Path
            Made if missing.
        clock : Clock
            Dates new segments.
        segment_bytes : int
            Size beyond which a new segment is begun.
        stream : bytes, optional
            16 bytes that name a new stream; random by default.

        Raises
        ------
        JournalError
            If another writer lives, a segment is missing, a head or the last segment is
            damaged, or the disk refuses.
        """
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = Folder(directory)
            lock = WriterLock(folder, stream)
            try:
                return cls(folder, lock, clock, segment_bytes)
            except BaseException:
                lock.release()
                raise
        except OSError as error:
            raise JournalError(f"{directory}: cannot be opened: {_cause(error)}") from error

    @property
    def stream(self) -> bytes:
        """The 16 bytes that name this stream."""
        return self._lock.stream

    @property
    def epoch(self) -> int:
        """The epoch of this writer."""
        return self._lock.epoch

    @property
    def position(self) -> int:
        """Where the next group will begin, if the segment has room for it."""
        return self._number << OFFSET_BITS | self._end

    # --- opening ------------------------------------------------------------------------------

    def _check_segments(self) -> dict[int, int]:
        """Check every head, cut the last segment's unfinished end, and return all sizes."""
        sizes: dict[int, int] = {}
        numbers = self._folder.numbers()
        epoch = 0
        for number in numbers:
            path = self._folder.segment(number)
            with path.open("rb") as file:
                head = SegmentHead.decode(file.read(SEGMENT_HEAD_BYTES), path.name)
            self._check_head(head, path.name, epoch, sizes.get(number - 1))
            epoch = head.epoch
            sizes[number] = path.stat().st_size
        if numbers:
            sizes[numbers[-1]] = self._cut(numbers[-1], sizes[numbers[-1]])
        return sizes

    def _check_head(
        self, head: SegmentHead, name: str, epoch: int, previous_bytes: int | None
    ) -> None:
        if head.stream != self.stream:
            raise JournalError(f"{name}: belongs to another stream, {head.stream.hex()}")
        if not epoch <= head.epoch < self.epoch:
            raise JournalError(
                f"{name}: has epoch {head.epoch}; accepted: {epoch} to {self.epoch - 1}"
            )
        if previous_bytes not in (None, head.previous_bytes):
            raise JournalError(
                f"{name}: the segment before it has {previous_bytes} bytes and had "
                f"{head.previous_bytes}; restore it from a copy"
            )

    def _cut(self, number: int, size: int) -> int:
        path = self._folder.segment(number)
        with path.open("r+b", buffering=_READ_AHEAD_BYTES) as file:
            # After a failed sync the cache may hold what the disk does not: read the disk.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            end = sound_end(file, path.name, size)
            if end < size:
                self.cut_bytes, self.cut_position = size - end, number << OFFSET_BITS | end
                file.truncate(end)
            os.fsync(file.fileno())
        return end

    # --- writing ------------------------------------------------------------------------------

    def append(self, payloads: Sequence[bytes]) -> list[int]:
        """Write payloads as one group, which after a crash is there as a whole or not at all.

        Parameters
        ----------
        payloads : sequence of bytes
            At least one, each 4 bytes to 16 MiB.

        Returns
        -------
        list of int
            The position of each, for `read`. They are durable only after `sync`.

        Raises
        ------
        JournalError
            If the log has stopped, was taken over, or the write fails, which stops it.
        """
        self._check_writable()
        if self._fd < 0 or self._end >= self._segment_bytes:
            self._rotate(first_arrival(payloads[0]))
        data, offsets = encode_group(payloads, self._synced)
        base = self.position
        self._write(data)
        return [base + offset for offset in offsets]

    def sync(self) -> None:
        """Return when everything appended is on disk and may be acknowledged.

        Raises
        ------
        JournalError
            If the log has stopped, was taken over meanwhile, or the sync fails, which stops it.
        """
        self._check_writable()
        end = self._end
        if self._fd >= 0:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                raise self._stop(f"sync of {self._name} failed", error) from error
            self._check_writable()
        self._synced = end

    def close(self) -> None:
        """Leave a mark that all was synced, and let another writer in."""
        try:
            if self._fd >= 0 and not self._failure:
                self.sync()
                self._write(encode_group([], self._synced)[0])
                self.sync()
        finally:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            self._failure = self._failure or "it was closed"
            self._lock.release()

    @property
    def _name(self) -> str:
        return self._folder.segment(self._number).name

    def _check_writable(self) -> None:
        if self._failure:
            raise JournalError(f"the journal takes no more records: {self._failure}")
        try:
            self._lock.check()
        except JournalError as error:
            self._failure = str(error)
            raise
        except OSError as error:
            raise self._stop("reading the epoch failed", error) from error

    def _stop(self, what: str, error: OSError) -> JournalError:
        where = f"({self._folder.path}); restart when that is mended"
        self._failure = f"{what}: {_cause(error)} {where}"
        return JournalError(self._failure)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            done = len(data) - len(view)
            what = f"{self._name}: {done} of {len(data)} bytes written at offset {self._end}"
            raise self._stop(what, error) from error
        self._end += len(data)
        self._sizes[self._number] = self._end

    def _rotate(self, arrival: int) -> None:
        try:
            if self._fd >= 0:
                os.fsync(self._fd)
                os.close(self._fd)
                self._fd = -1
                self._folder.sync()
            self._create(self._number + 1, arrival)
        except OSError as error:
            raise self._stop("beginning a segment failed", error) from error

    def _create(self, number: int, arrival: int) -> None:
        head = SegmentHead(self.stream, self.epoch, arrival, self._clock.now_ms(), self._end)
        path = self._folder.segment(number)
        durable.replace(path, head.encode())
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._number = number
        self._end = self._synced = self._sizes[number] = SEGMENT_HEAD_BYTES

    # --- reading ------------------------------------------------------------------------------

    def read(self, position: int) -> bytes:
        """Return the payload at a position that `append` or `scan` gave.

        Raises
        ------
        JournalError
            If there is no such record, or it is damaged.
        """
        number, offset = position >> OFFSET_BITS, position & _OFFSET_MASK
        path = self._folder.segment(number)
        if offset + FRAME_BYTES > self._sizes.get(number, 0):
            raise JournalError(f"{path.name}: has no record at offset {offset}")
        fd = os.open(path, os.O_RDONLY)
        try:
            head = os.pread(fd, FRAME_BYTES, offset)
            length, crc = FRAME.unpack(head)
            if PAYLOAD_BYTES_MIN <= length <= PAYLOAD_BYTES_MAX:
                payload = os.pread(fd, length, offset + FRAME_BYTES)
                if len(payload) == length and checksum(head[:4], payload) == crc:
                    return payload
        finally:
            os.close(fd)
        raise JournalError(f"{path.name}: damaged at offset {offset}, or no record begins there")

    def scan(self, from_position: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield (position, payload) of every record from a position on, in order.

        What is appended after the call began may be left out.

        Raises
        ------
        JournalError
            At the first damage; it names the file and the offset.
        """
        first, from_offset = from_position >> OFFSET_BITS, from_position & _OFFSET_MASK
        for number, end in sorted(self._sizes.items()):
            if number < first:
                continue
            base = number << OFFSET_BITS
            path = self._folder.segment(number)
            with path.open("rb", buffering=_READ_AHEAD_BYTES) as file:
                after = from_offset if number == first else 0
                for offset, payload in read_records(file, path.name, end, after):
                    yield base | offset, payload
