"""Follows a journal that another process writes, without its lock, from any position on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from assay.errors import DamageError, JournalError
from assay.journal.decision_record import stream_name
from assay.journal.folder import Folder
from assay.journal.segment import (
    SEGMENT_HEAD_BYTES,
    SegmentHead,
    group_start,
    next_sound_group,
    read_groups,
)
from assay.journal.segment_file import open_segment, segment_bytes, segment_head
from assay.journal.segments import OFFSET_BITS, OFFSET_MASK
from assay.records import Gap

Records = list[tuple[int, bytes]]
OnGap = Callable[[Gap], None]

_REMOVED: Final = "retention removed what stood here"


class Follower:
    """Reads each record once, in order, as it comes, whether its segment is sealed or not.

    A group that is being written is not there yet. Only new bytes are read, but for one look at
    the heads of a segment's groups when a new follower resumes within a group.

    Parameters
    ----------
    directory : Path
        The journal; a folder that does not exist yet is an empty one.
    position : int
        Where to go on: what a follower's or a stretch's position was, or 0 for the first record
        that is still there.
    on_gap : callable, optional
        Told of each part that is damaged or was removed, when reading goes on behind it.
        Without it, such a part is an error.
    """

    def __init__(self, directory: Path, position: int = 0, *, on_gap: OnGap | None = None) -> None:
        self._folder = Folder(directory)
        self._position = position
        self._on_gap = on_gap
        self._number = position >> OFFSET_BITS
        self._at = 0  # where the next group begins in that segment; 0: the segment is not entered
        self._head: SegmentHead | None = None  # of that segment; None: its head is damaged
        self._headless = 0  # a segment whose damaged head was told of
        self._inode = 0
        self._stream = ""

    @property
    def position(self) -> int:
        """Where to go on; give it to a new follower to resume. It never decreases."""
        return self._position

    @property
    def stream(self) -> str:
        """Name of the stream; ``""`` while the journal is empty."""
        if not self._stream and (numbers := self._folder.numbers()):
            self._stream = stream_name(self._any_head(numbers).stream)
        return self._stream

    def read(self, records_max: int = 65_536) -> Records:
        """Return (position, payload) of whole, sound records from `position` on; [] if none yet.

        A group is given as a whole, so there may be more than `records_max`.
        What lies before a gap is given first; the next call tells of the gap and goes on.

        Raises
        ------
        DamageError
            At the first damage; with `on_gap` only where nothing sound follows yet.
            Nothing is lost by it: the position is where it was.
        JournalError
            If the journal ends before `position`, or is another than it was; without `on_gap`
            also if retention removed what stands at `position`.
        """
        out: Records = []
        before = self._position
        while len(out) < records_max:
            try:
                if not self._read_segment(out, records_max):
                    break
            except _HoleError as hole:
                if self._on_gap is None:
                    self._go_to(before)
                    raise hole.error from None
                if out:
                    break
                if not hole.until:
                    raise hole.error from None
                self._pass(hole, self._on_gap)
            except JournalError:
                if out:  # they are not given
                    self._go_to(before)
                raise
        return out

    def behind_bytes(self) -> int:
        """Return how many bytes of the journal, before compression, are not yet read."""
        number, offset = self._position >> OFFSET_BITS, self._position & OFFSET_MASK
        behind = 0
        for found in self._folder.numbers():
            if found >= number:
                read = max(offset, SEGMENT_HEAD_BYTES) if found == number else SEGMENT_HEAD_BYTES
                with suppress(DamageError, FileNotFoundError):
                    behind += segment_bytes(self._folder, found) - read
        return max(0, behind)

    def sync(self) -> None:
        """Make what was read durable, so that what is made of it never outlives it.

        The writer syncs a segment before it begins the next, so the last one read is enough; and
        what is sealed is durable. A writer that died may have left its newest segment's name
        unsynced.
        """
        if self._number:
            with suppress(FileNotFoundError), self._path(self._number).open("rb") as file:
                os.fdatasync(file.fileno())
            self._folder.sync()

    # --- entering a segment ---------------------------------------------------------------------

    def _path(self, number: int) -> Path:
        return self._folder.segment(number)

    def _any_head(self, numbers: list[int]) -> SegmentHead:
        """Return the first head that is sound: all name the same stream."""
        for number in numbers[:-1]:
            with suppress(DamageError, FileNotFoundError):
                return segment_head(self._folder, number)
        return segment_head(self._folder, numbers[-1])

    def _go_to(self, position: int) -> None:
        self._position, self._number, self._at = position, position >> OFFSET_BITS, 0

    def _next(self) -> None:
        self._go_to(_first(self._number + 1))

    def _enter(self) -> bool:
        """Find the position's place in its segment; False if there is none yet."""
        numbers = self._folder.numbers()
        if not self._position:
            if not numbers:
                return False
            self._go_to(_first(numbers[0]))
        if self._number not in numbers:
            return self._leave_removed(numbers)
        try:
            self._head = self._read_head()
            self._at = self._group_start()
        except FileNotFoundError:
            return self._leave_removed(self._folder.numbers())
        stream = stream_name(self._head.stream) if self._head else self._stream
        if self._stream not in {"", stream}:
            raise self._other(f"its stream is {stream} and was {self._stream}")
        self._stream = stream
        return True

    def _read_head(self) -> SegmentHead | None:
        if self._number == self._headless:
            return None
        try:
            return segment_head(self._folder, self._number)
        except DamageError as bad:
            raw = self._path(self._number).exists()
            # Records follow a raw segment's head; a sealed one's tells where they are.
            raise _HoleError(bad, self._position if raw else _first(self._number + 1)) from None

    def _group_start(self) -> int:
        path, offset = self._path(self._number), self._position & OFFSET_MASK
        holes = self._on_gap is not None
        with open_segment(self._folder, self._number, zeros_for_damage=holes) as file:
            self._inode = os.fstat(file.fileno()).st_ino
            end = segment_bytes(self._folder, self._number)
            try:
                return group_start(file, path.name, max(offset, SEGMENT_HEAD_BYTES), end)
            except DamageError as bad:
                raise self._hole(bad, end) from None
            except OSError as error:
                raise self._unread(error) from None

    def _leave_removed(self, numbers: list[int]) -> bool:
        """Go on behind what retention removed; it was read already, or is a gap."""
        if not numbers or numbers[0] <= self._number:
            raise self._other(f"{self._path(self._number).name} is gone")
        if numbers[0] == self._number + 1 and self._was_all_read():
            self._next()
            return True
        removed = JournalError(
            f"{self._folder.path}: does not go on at position {self._position}: {_REMOVED}; "
            f"accepted: 0, or {_first(numbers[0])} and later"
        )
        raise _HoleError(removed, _first(numbers[0]), _REMOVED)

    def _was_all_read(self) -> bool:
        try:
            head = segment_head(self._folder, self._number + 1)
        except (DamageError, FileNotFoundError):
            return False
        return head.previous_bytes == self._position & OFFSET_MASK

    # --- reading --------------------------------------------------------------------------------

    def _read_segment(self, out: Records, records_max: int) -> bool:
        """Add what the segment holds; return whether reading goes on with the next one."""
        if not self._at and not self._enter():
            return False
        if not self._at:
            return True
        try:
            end, whole, last = self._end()
            self._read_groups(out, records_max, end, last=last)
        except FileNotFoundError:
            return self._leave_removed(self._folder.numbers())
        if last or self._at < end:
            return False
        if end != whole:
            what = f"{whole - end} bytes are missing"
            bad = DamageError(self._path(self._number).name, end, what)
            raise _HoleError(bad, _first(self._number + 1))
        self._next()
        return True

    def _end(self) -> tuple[int, int, bool]:
        """Return how far the segment can be read now, how far it reached, and if it is the last."""
        # Looked for first: once the next segment is there, this one is whole and grows no more.
        last = not self._folder.is_there(self._number + 1)
        size = self._size()
        whole = size if last else self._previous_bytes(size)
        name = self._path(self._number).name
        # What lies behind `whole` came from a writer that had been replaced; it counts for nothing.
        if size < whole and self._on_gap is None:
            raise self._other(f"{name} has {size} bytes and had {whole}")
        if whole < self._position & OFFSET_MASK:
            raise self._other(f"{name} ends at {whole}")
        return min(size, whole), whole, last

    def _size(self) -> int:
        """Return the segment's size, after a look that it is still the same one."""
        path = self._path(self._number)
        try:
            stat = path.stat()
        except FileNotFoundError:
            stat = None
        if stat and stat.st_ino == self._inode:
            return stat.st_size
        if self._read_head() != self._head:
            raise self._other(f"{path.name} is another file than before")
        return segment_bytes(self._folder, self._number)

    def _previous_bytes(self, size: int) -> int:
        try:
            return segment_head(self._folder, self._number + 1).previous_bytes
        except DamageError:
            return size  # told of when that segment is entered

    def _read_groups(self, out: Records, records_max: int, end: int, *, last: bool) -> None:
        """Add the records of the groups from here on, and go on behind each group."""
        if self._at >= end:
            return
        name, base = self._path(self._number).name, self._number << OFFSET_BITS
        with open_segment(self._folder, self._number) as file:
            try:
                for stop, records in read_groups(file, name, self._at, end, last=last):
                    if self._at < self._position & OFFSET_MASK:
                        self._resume(out, records)
                    else:
                        out += [(base | offset, payload) for offset, payload in records]
                    self._at, self._position = stop, base | stop
                    if len(out) >= records_max:
                        return
            except DamageError as bad:
                raise self._hole(bad, end, last=last) from None
            except OSError as error:
                raise self._unread(error) from None

    def _resume(self, out: Records, records: Records) -> None:
        """Add what follows the position, which lies within a group, of that group's records."""
        base, from_offset = self._number << OFFSET_BITS, self._position & OFFSET_MASK
        left = [(base | offset, payload) for offset, payload in records if offset >= from_offset]
        if not left or left[0][0] != self._position:
            raise self._other(f"no record begins at offset {from_offset}")
        out += left

    # --- gaps -----------------------------------------------------------------------------------

    def _hole(self, bad: DamageError, end: int, *, last: bool = False) -> _HoleError:
        """Return the hole that begins with damage to the group at the position."""
        if self._on_gap is None:
            return _HoleError(bad, 0)
        with open_segment(self._folder, self._number, zeros_for_damage=True) as file:
            found = next_sound_group(file, self._position & OFFSET_MASK, end)
        if found:
            return _HoleError(bad, self._number << OFFSET_BITS | found)
        return _HoleError(bad, 0 if last else _first(self._number + 1))

    def _unread(self, error: OSError) -> Exception:
        """Return the hole that a bad sector makes; what lies behind it is not looked for."""
        if error.errno != errno.EIO:
            return error
        path, offset = self._path(self._number), self._position & OFFSET_MASK
        bad = DamageError(path.name, offset, "the disk cannot read it")
        last = not self._folder.is_there(self._number + 1)
        return _HoleError(bad, 0 if last else _first(self._number + 1))

    def _pass(self, hole: _HoleError, on_gap: OnGap) -> None:
        """Tell of a hole, and go on behind it."""
        on_gap(Gap(self._position, hole.until, hole.why))
        if hole.until == self._position:
            self._headless = self._number
        self._go_to(hole.until)

    def _other(self, found: str) -> JournalError:
        return JournalError(
            f"{self._folder.path}: does not go on at position {self._position}: {found}; accepted: "
            "the journal that was read before, it was cut or replaced"
        )


class _HoleError(Exception):
    """Nothing can be read from the position to `until`; 0: what follows is not written yet."""

    def __init__(self, error: JournalError, until: int, why: str = "") -> None:
        super().__init__(str(error))
        self.error, self.until, self.why = error, until, why or str(error)


def _first(number: int) -> int:
    """Return the position where a segment's first group begins."""
    return number << OFFSET_BITS | SEGMENT_HEAD_BYTES
