"""Finds single records in a journal that another process may be writing."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Final

from assay.errors import DamageError, JournalError
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import stream_name
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.firsts import Firsts
from assay.journal.folder import Folder
from assay.journal.frames import FRAME_BYTES, PAYLOAD_BYTES_MAX, BadFrameError, decode_body
from assay.journal.growing_index import GrowingIndex
from assay.journal.index import SegmentIndex
from assay.journal.index_files import load_index
from assay.journal.segment_file import open_segment, segment_head
from assay.journal.segments import OFFSET_BITS, OFFSET_MASK

_INDEXES_KEPT: Final = 256
"""Each is a mapped file, and takes a descriptor."""

Found = tuple[int, bytes]
"""Position and payload."""


class Lookup:
    """Finds records by arrival number and by transaction; used by one thread.

    Sealed segments are found by their index. What is not sealed yet is read once, and after that
    only what is new in it.

    Parameters
    ----------
    directory : Path
        The journal; a folder that does not exist yet is an empty one.
    """

    def __init__(self, directory: Path) -> None:
        self._folder = Folder(directory)
        self._firsts = Firsts(self._folder)
        self._sealed: OrderedDict[int, SegmentIndex] = OrderedDict()
        self._growing: dict[int, GrowingIndex] = {}

    @property
    def stream(self) -> str:
        """Name of the stream; ``""`` while the journal is empty."""
        numbers = self._numbers()
        return stream_name(segment_head(self._folder, numbers[-1]).stream) if numbers else ""

    def by_arrival(self, arrival: int) -> Found | None:
        """Return the record with an arrival number; None if there is none.

        Raises
        ------
        DamageError
            If it is damaged, or what is needed to find it.
        """
        try:
            position = self._position(arrival)
            return None if position is None else (position, self._payload(position))
        except FileNotFoundError:  # retention removed it just now
            return None

    def by_transaction(self, transaction: int) -> list[Found]:
        """Return the decisions about a transaction, newest first.

        Parameters
        ----------
        transaction : int
            64-bit hash of its id. Two ids may share one: compare the text.

        Raises
        ------
        DamageError
            If one is damaged, or what is needed to find it.
        """
        found: list[Found] = []
        with suppress(FileNotFoundError):  # retention removed the oldest just now
            for number in reversed(self._numbers()):
                positions = self._index(number).find_transaction(transaction)
                found += [(position, self._payload(position)) for position in reversed(positions)]
        return found

    def boot(self, arrival: int) -> BootRecord:
        """Return the versions in force for the decisions that name an arrival as their boot.

        Raises
        ------
        JournalError
            If there is no such boot record.
        """
        found = self.by_arrival(arrival)
        if found and EntryHead.decode(found[1]).kind == EntryKind.boot:
            return BootRecord.decode(found[1])
        for number in self._numbers()[:1]:  # the segment that held it may be removed
            for boot, payload in self._index(number).boots:
                if boot == arrival:
                    return BootRecord.decode(payload)
        raise JournalError(f"{self._folder.path}: has no boot record {arrival}")

    # --- inside ---------------------------------------------------------------------------------

    def _numbers(self) -> list[int]:
        numbers = self._folder.numbers()
        for removed in [number for number in self._sealed if number < numbers[0]]:
            del self._sealed[removed]
        return numbers

    def _position(self, arrival: int) -> int | None:
        number = self._firsts.segment_of(arrival, self._numbers())
        return None if number is None else self._index(number).find_arrival(arrival)

    def _index(self, number: int) -> SegmentIndex:
        index = self._sealed.get(number)
        if index is None:
            if self._folder.segment(number).exists():
                if number not in self._growing:
                    self._growing[number] = GrowingIndex(self._folder, number)
                return self._growing[number].index()
            self._growing.pop(number, None)
            index = self._sealed[number] = load_index(self._folder, number)
            if len(self._sealed) > _INDEXES_KEPT:
                self._sealed.popitem(last=False)
        self._sealed.move_to_end(number)
        return index

    def _payload(self, position: int) -> bytes:
        number, offset = position >> OFFSET_BITS, position & OFFSET_MASK
        with open_segment(self._folder, number, buffering=0) as file:
            file.seek(offset)
            head = file.read(FRAME_BYTES)
            length = int.from_bytes(head[:4], "little")
            body = head + file.read(min(length, PAYLOAD_BYTES_MAX))
        try:
            [(_, payload)] = decode_body(body, offset)
        except (BadFrameError, ValueError):
            name = self._folder.segment(number).name
            raise DamageError(name, offset, "a record's length or checksum is wrong") from None
        return payload
