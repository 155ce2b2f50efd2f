"""The segments of a standby: the same bytes as the writer's, as far as they have come.

The writer decides what the journal is, because it alone answers. But an answer left only when
both disks had the record, so two rules keep what was answered:

- what the two have in common must be equal: the head and the end of the standby's last segment
  are compared (the head names the stream, the writer that began the segment, when, and how large
  the one before was, so that two histories that parted do not have the same one);
- the standby cuts what the writer lacks only if no group says that it had been synced.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple, Self

from xxhash import xxh3_128_digest

from assay import durable
from assay.errors import JournalError
from assay.journal.folder import Folder
from assay.journal.frames import GROUP_HEAD_BYTES, GROUP_LENGTH, decode_group_head
from assay.journal.log import OFFSET_BITS
from assay.journal.segment import SEGMENT_HEAD_BYTES, SegmentHead, read_groups
from assay.journal.segment_file import open_segment, segment_bytes
from assay.journal.standby_fence import Fence

OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1

_COMPARED_BYTES: Final = 4 << 20
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_OFFER: Final = Struct("<QQQ16s")

OFFER_BYTES: Final = _OFFER.size


class Offer(NamedTuple):
    """What a writer says about its journal, once it knows where the standby's ends.

    Attributes
    ----------
    first : int
        Number of its oldest segment.
    size : int
        Bytes that it has of the standby's last segment; 0 if it has no such segment.
    answered : int
        Position before which everything may have been acknowledged.
    digest : bytes
        See `likeness`.
    """

    first: int
    size: int
    answered: int
    digest: bytes

    def encode(self) -> bytes:
        """Return the body of an offer."""
        return _OFFER.pack(*self)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read the body of an offer."""
        return cls(*_OFFER.unpack(body))


class DifferentError(Exception):
    """The writer's journal does not continue this one, or what it sends does not fit."""


class FullError(Exception):
    """The disk is full; what was written before stays."""


def likeness(folder: Folder, number: int, end: int) -> bytes:
    """Return a digest of a segment's head and of the last 4 MiB before an offset."""
    with open_segment(folder, number) as file:
        head = file.read(SEGMENT_HEAD_BYTES)
        file.seek(max(SEGMENT_HEAD_BYTES, end - _COMPARED_BYTES))
        return xxh3_128_digest(head + file.read(max(0, end - file.tell())))


class StandbyFiles:
    """Writes what a writer sends.

    Used by one thread at a time.

    Parameters
    ----------
    folder : Folder
    fence : Fence
        Held on the folder.

    Attributes
    ----------
    damage : str
        What is wrong with the last segment, until a writer has sent it anew.

    Raises
    ------
    JournalError
        If a segment is missing between two others.
    """

    def __init__(self, folder: Folder, fence: Fence) -> None:
        self._folder, self._fence = folder, fence
        self._needed_path = folder.path / "catching_up"
        self._fd = -1
        self._end = 0
        self.damage = ""
        self._number = max(folder.numbers(), default=0)
        self._needed = _number_in(self._needed_path)
        if self._number:
            self._end = self._sound_end()

    @property
    def position(self) -> int:
        """Where the next byte goes; 0 if nothing has come yet."""
        return self._number << OFFSET_BITS | self._end

    @property
    def missing(self) -> str:
        """Why this journal is not all that was answered; ``""`` if it is."""
        if self.damage:
            return self.damage
        if self.position < self._needed:
            return (
                f"it ends at position {self.position}, and answers may have been given for what "
                f"lies before {self._needed}"
            )
        return "" if self.position else "nothing has been received yet"

    def _sound_end(self) -> int:
        """Return where the last segment's sound groups end, as the disk has them."""
        path, end = self._folder.segment(self._number), SEGMENT_HEAD_BYTES
        if not path.exists():
            return segment_bytes(self._folder, self._number)
        with path.open("rb") as file:
            # After a failed sync the cache may hold what the disk does not.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            SegmentHead.decode(file.read(SEGMENT_HEAD_BYTES), path.name)
            groups = read_groups(file, path.name, end, path.stat().st_size, last=True)
            try:
                for stop, _ in groups:
                    end = stop
            except JournalError as error:
                # It may be a power cut while catching up: the writer has it all still.
                self.damage = str(error)
        return end

    def agree(self, offer: Offer) -> int:
        """Cut what was never answered and the writer does not have; return where it goes on.

        Raises
        ------
        DifferentError
            If the writer's journal does not continue this one.
        JournalError
            If the disk fails.
        """
        if not self._number:
            self._need(offer, offer.first << OFFSET_BITS)
            return offer.first << OFFSET_BITS
        end = min(self._end, offer.size)
        if end < SEGMENT_HEAD_BYTES or likeness(self._folder, self._number, end) != offer.digest:
            raise DifferentError("the two journals differ")
        if self._claimed(end) > offer.size:
            raise DifferentError("the writer's journal lacks what was synced here and there")
        self._need(offer, self._number << OFFSET_BITS | end)
        self._open_at(end)
        return self.position

    def _need(self, offer: Offer, position: int) -> None:
        """Remember, over restarts too, what must have come before this may take over."""
        if position < offer.answered:
            durable.replace(self._needed_path, b"%d" % offer.answered)
        self._needed = offer.answered

    def _claimed(self, start: int) -> int:
        """Return how much of the last segment had been synced, by the groups from an offset on."""
        path = self._folder.segment(self._number)
        if not path.exists():
            return segment_bytes(self._folder, self._number)
        with path.open("rb") as file:
            file.seek(start)
            rest = file.read()
        heads = (
            decode_group_head(rest[match.start() : match.start() + GROUP_HEAD_BYTES])
            for match in re.finditer(re.escape(GROUP_LENGTH), rest)
        )
        return max((head.synced_bytes for head in heads if head), default=0)

    def _open_at(self, end: int) -> None:
        self.close()
        path = self._folder.segment(self._number)
        if path.exists():
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            with _disk(path):
                os.ftruncate(self._fd, end)
                os.fsync(self._fd)
        self._end, self.damage = end, ""

    def write(self, position: int, data: bytes) -> None:
        """Write what stands at a position of the writer's journal; it is durable after `sync`.

        Raises
        ------
        DifferentError
            If it is not what comes next.
        FullError
            If the disk is full.
        JournalError
            If the disk fails in another way.
        """
        number, offset = position >> OFFSET_BITS, position & OFFSET_MASK
        if offset == 0 and (number == self._number + 1 or not self._number):
            self._begin(number, data)
        elif position == self.position and self._fd >= 0:
            self._append(data)
        else:
            raise DifferentError(f"bytes for position {position} at position {self.position}")

    def sync(self) -> int:
        """Make all that was written durable, and return up to where.

        Raises
        ------
        JournalError
            If the disk fails.
        """
        with _disk(self._folder.segment(self._number)):
            os.fdatasync(self._fd)
        return self.position

    def close(self) -> None:
        """Close the segment that is written."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _begin(self, number: int, data: bytes) -> None:
        path = self._folder.segment(number)
        try:
            head = SegmentHead.decode(data, path.name)
        except JournalError as error:
            raise DifferentError(str(error)) from None
        if head.stream != self._fence.stream or head.epoch > self._fence.epoch:
            raise DifferentError(f"{path.name} is of another stream or epoch")
        if self._number and head.previous_bytes != self._end:
            raise DifferentError(f"{path.name} follows a segment of {head.previous_bytes} bytes")
        with _disk(path):
            if self._fd >= 0:
                os.fsync(self._fd)
                self._folder.sync()
            durable.replace(path, data)
            self.close()
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._number, self._end = number, len(data)

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        with _disk(self._folder.segment(self._number)):
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                os.ftruncate(self._fd, self._end)
                raise
        self._end += len(data)


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Tell apart what the disk says: being full may pass, anything else ends the standby."""
    try:
        yield
    except OSError as error:
        what = f"{path.name}: {os.strerror(error.errno or 0)}"
        raise (FullError if error.errno in _FULL else JournalError)(what) from error


def _number_in(path: Path) -> int:
    try:
        return int(path.read_bytes())
    except FileNotFoundError:
        return 0
    except ValueError:
        raise JournalError(f"{path} is damaged; accepted: a position, restore it") from None
