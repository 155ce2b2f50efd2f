"""The log: payloads appended in groups, durable after a sync, read back by position."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, Self

from assay import durable
from assay.clock import Clock
from assay.errors import JournalError, StalledError
from assay.journal.entries import first_arrival
from assay.journal.folder import Folder
from assay.journal.frames import encode_group
from assay.journal.segment import SEGMENT_HEAD_BYTES, SegmentHead
from assay.journal.segments import OFFSET_BITS, Segments
from assay.journal.writer_lock import WriterLock

__all__ = ["OFFSET_BITS", "Log", "Mirror"]

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_CAUSES: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file may not grow further",
    errno.EIO: "the disk reports an error",
}


def _cause(error: OSError) -> str:
    return _CAUSES.get(error.errno or 0) or os.strerror(error.errno or 0)


class Mirror(Protocol):
    """Has the journal on another machine's disk before anything is acknowledged."""

    def send(self, position: int) -> None:
        """Begin to send what is written before a position; never raises, never waits."""
        ...

    def wait(self, position: int) -> None:
        """Return when the other disk has all before a position.

        Raises
        ------
        StalledError
            If it does not now; it may be asked again.
        JournalError
            If this writer was taken over.
        """
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class Log:
    """An append-only stream of payloads in segment files.

    One thread appends and syncs; any thread reads.
    While the disk is full, `append` raises `StalledError` and leaves nothing behind: it may be
    tried again.
    A sync that fails, and any other failed write, is never tried again, because after it nobody
    knows what the disk holds: the log stops, every later append and sync fails, and the process
    must restart.

    Attributes
    ----------
    cut_bytes : int
        How much of an unfinished write opening cut off; 0 after a clean stop.
    cut_position : int
        Where it was cut; 0 if it was not.
    """

    def __init__(
        self,
        folder: Folder,
        lock: WriterLock,
        clock: Clock,
        segment_bytes: int,
        reserve_bytes: int,
        segments: Segments,
    ) -> None:
        self._folder, self._lock, self._clock = folder, lock, clock
        self._segment_bytes, self._reserve_bytes = segment_bytes, reserve_bytes
        self._segments = segments
        self._mirror: Mirror | None = None
        self._failure = ""
        self._fd = -1
        self._number = segments.newest
        self._end = self._synced = segments.size(segments.newest)
        self.cut_bytes, self.cut_position = segments.cut_bytes, segments.cut_position

    @classmethod
    def open(
        cls,
        directory: Path,
        clock: Clock,
        *,
        segment_bytes: int = 256 << 20,
        stream: bytes | None = None,
        reserve_bytes: int = 0,
        checked_position: int = 0,
        mirror: Callable[[bytes, int], Mirror] | None = None,
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
        reserve_bytes : int
            Free space below which nothing is appended.
        checked_position : int
            What lies before is not checked, and no damage there stops the opening. A position
            that the journal does not reach counts as 0.
        mirror : callable, optional
            Given the stream and this writer's epoch, returns what every sync waits for too.

        Raises
        ------
        DamageError
            If a head or the last segment is damaged.
        StalledError
            If the disk is too full to take over; it may be tried again.
        JournalError
            If another writer lives, a segment is missing, or the disk refuses.
        """
        try:
            _make_folder(directory)
            folder = Folder(directory)
            lock = WriterLock(folder, stream)
            try:
                segments = Segments(folder, lock.stream, lock.epoch, checked_position)
                log = cls(folder, lock, clock, segment_bytes, reserve_bytes, segments)
                log._mirror = mirror(log.stream, log.epoch) if mirror else None
            except BaseException:
                lock.release()
                raise
        except OSError as error:
            kind = StalledError if error.errno in _FULL else JournalError
            raise kind(f"{directory}: cannot be opened: {_cause(error)}") from error
        return log

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

    # --- room ---------------------------------------------------------------------------------

    def free(self) -> tuple[int, int]:
        """Return the free and all bytes of the journal's disk, free for this user.

        Raises
        ------
        JournalError
            If the disk does not say.
        """
        try:
            disk = os.statvfs(self._folder.path)
        except OSError as error:
            raise JournalError(f"{self._folder.path}: {_cause(error)}") from error
        return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize

    def room(self) -> bool:
        """Tell whether there is more free space than is kept in reserve."""
        return self.free()[0] >= self._reserve_bytes

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
        StalledError
            If the disk is full. Nothing was written; it may be tried again.
        JournalError
            If the log has stopped, was taken over, or the write fails, which stops it.
        """
        self._check_writable()
        if self._reserve_bytes and not self.room():
            raise StalledError(
                f"{self._folder.path}: {_CAUSES[errno.ENOSPC]}: {self.free()[0]} bytes are free "
                f"and {self._reserve_bytes} are kept in reserve; free some, and it goes on"
            )
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
        StalledError
            If the mirror does not have it. It may be tried again.
        JournalError
            If the log has stopped, was taken over meanwhile, or the sync fails, which stops it.
        """
        self._check_writable()
        end, position = self._end, self.position
        if self._mirror:
            self._mirror.send(position)
        if self._fd >= 0:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                raise self._stop(f"sync of {self._name} failed", error) from error
        self._synced = end
        if self._mirror:
            self._wait(self._mirror, position)
        self._check_writable()

    def close(self) -> None:
        """Leave a mark that all was synced, and let another writer in."""
        try:
            if self._fd >= 0 and not self._failure:
                with suppress(StalledError):  # then without the mark
                    self.sync()
                    self._write(encode_group([], self._synced)[0])
                    self.sync()
        finally:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            self._failure = self._failure or "it was closed"
            if self._mirror:
                self._mirror.close()
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

    def _wait(self, mirror: Mirror, position: int) -> None:
        try:
            mirror.wait(position)
        except StalledError:
            raise
        except JournalError as error:
            self._failure = str(error)
            raise

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
            if error.errno not in _FULL:
                raise self._stop(what, error) from error
            self._cut_back()
            raise StalledError(f"{what}: {_cause(error)}; free some, and it goes on") from error
        self._end += len(data)
        self._segments.grow(self._number, self._end)

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._end)
            # Else a crash might mix the end of this write with the one that is tried instead.
            os.fsync(self._fd)
        except OSError as error:
            what = f"{self._name}: cutting it back to {self._end} bytes failed"
            raise self._stop(what, error) from error

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
        try:
            durable.create(path, head.encode())
        except FileExistsError:
            self._check_writable()  # another writer's, which has taken over: this says so
            raise
        except OSError as error:
            if error.errno not in _FULL or path.exists():
                raise
            raise StalledError(
                f"{path.name}: {_cause(error)}; free some, and it goes on"
            ) from error
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._end = self._synced = SEGMENT_HEAD_BYTES
        self._number = number
        self._segments.grow(number, self._end)

    # --- reading ------------------------------------------------------------------------------

    def read(self, position: int) -> bytes:
        """Return the payload at a position that `append` or `scan` gave.

        Raises
        ------
        DamageError
            If it is damaged.
        JournalError
            If there is no such record, or retention has removed it.
        """
        return self._segments.read(position)

    def scan(self, from_position: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield (position, payload) of every record from a position on, in order.

        What is appended after the call began may be left out.

        Raises
        ------
        DamageError
            At the first damage.
        JournalError
            If retention removes a segment before it is read.
        """
        return self._segments.scan(from_position)


def _make_folder(directory: Path) -> None:
    if not directory.is_dir():
        _make_folder(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        durable.sync_folder(directory.parent)
