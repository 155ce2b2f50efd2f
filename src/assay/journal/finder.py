"""Finds records by arrival number in a journal that this process writes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from assay.journal.entries import ENTRY_HEAD_BYTES, first_arrival
from assay.journal.folder import Folder
from assay.journal.frames import FRAME_BYTES, GROUP_KIND
from assay.journal.index import SegmentIndex
from assay.journal.log import OFFSET_BITS, Log
from assay.journal.places import Places
from assay.journal.segment_file import segment_head

_INDEXES_KEPT: Final = 8


class Finder:
    """Finds what is durable: by its own notes what was written lately, by indexes what is sealed.

    One thread adds; any thread finds, one at a time.

    Parameters
    ----------
    log : Log
    folder : Folder
        Where the log's segments lie.
    """

    def __init__(self, log: Log, folder: Folder) -> None:
        self._log, self._folder = log, folder
        self._places: dict[int, Places] = {}
        self._newest = 0
        self._firsts: dict[int, int] = {}
        self._indexes: OrderedDict[int, SegmentIndex] = OrderedDict()
        self._finding = threading.Lock()

    def add(self, arrivals: Sequence[int], positions: Sequence[int]) -> None:
        """Note where records of one segment stand, in their order; they are durable."""
        number = positions[0] >> OFFSET_BITS
        places = self._places.get(number)
        if places is None:
            self._drop_sealed()
            places = self._places[number] = Places()
        places.add(arrivals, positions)
        self._newest = arrivals[-1]

    def find(self, arrival: int) -> bytes | None:
        """Return the payload of an arrival; None if there is none, or retention removed it.

        Raises
        ------
        DamageError
            If it cannot be read.
        """
        with self._finding:
            if not 0 < arrival <= self._newest:
                return None
            number = self._segment(arrival)
            if number is None:
                return None
            if self._folder.index(number).exists():  # a walk would decompress for every step
                return self._indexed(number, arrival)
            places = self._places.get(number)
            position = None if places is None else places.before(arrival)
            if position is not None:
                return self._walk(position, arrival)
            return self._searched(number, arrival)

    def _segment(self, arrival: int) -> int | None:
        """Return the segment that begins at or last before an arrival."""
        numbers = self._folder.numbers()
        low, high = 0, len(numbers)
        while low < high:
            middle = (low + high) // 2
            if self._first(numbers[middle]) <= arrival:
                low = middle + 1
            else:
                high = middle
        return numbers[low - 1] if low else None

    def _first(self, number: int) -> int:
        first = self._firsts.get(number)
        if first is None:
            first = self._firsts[number] = segment_head(self._folder, number).first_arrival
        return first

    def _walk(self, position: int, arrival: int) -> bytes | None:
        """Go from record to record, across the heads of groups."""
        while True:
            payload = self._log.read(position)
            if payload[1] != GROUP_KIND and len(payload) >= ENTRY_HEAD_BYTES:
                found = first_arrival(payload)
                if found >= arrival:
                    return payload if found == arrival else None
            position += FRAME_BYTES + len(payload)

    def _indexed(self, number: int, arrival: int) -> bytes | None:
        index = self._indexes.get(number)
        if index is None:
            index = self._indexes[number] = SegmentIndex.load(self._folder.index(number))
            if len(self._indexes) > _INDEXES_KEPT:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(number)
        position = index.find_arrival(arrival)
        if position is not None:
            return self._log.read(position)
        return next((payload for boot, payload in index.boots if boot == arrival), None)

    def _searched(self, number: int, arrival: int) -> bytes | None:
        """Look through a segment that has no index yet, or never will: it is damaged."""
        for position, payload in self._log.scan(number << OFFSET_BITS):
            if position >> OFFSET_BITS != number or first_arrival(payload) > arrival:
                return None
            if first_arrival(payload) == arrival:
                return payload
        return None

    def _drop_sealed(self) -> None:
        """Forget the notes about segments that have an index by now; called once a segment."""
        for number in list(self._places):
            if self._folder.index(number).exists():
                del self._places[number]
