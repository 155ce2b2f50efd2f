"""Finds records by arrival number in a journal that this process writes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from assay.errors import DamageError
from assay.journal.entries import ENTRY_HEAD_BYTES, first_arrival
from assay.journal.firsts import Firsts
from assay.journal.folder import Folder
from assay.journal.frames import FRAME_BYTES, GROUP_KIND
from assay.journal.index import SegmentIndex
from assay.journal.index_files import load_index, scan_index
from assay.journal.log import OFFSET_BITS, Log
from assay.journal.places import Places

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
        self._firsts = Firsts(folder)
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
            number = self._firsts.segment_of(arrival, self._folder.numbers())
            if number is None:
                return None
            places = self._places.get(number)
            position = None if places is None else places.before(arrival)
            # In a sealed segment a walk would decompress for every step.
            if position is not None and not self._folder.index(number).exists():
                with suppress(DamageError):  # what is sound behind it, an index made now knows
                    return self._walk(position, arrival)
            return self._indexed(number, arrival)

    def _walk(self, position: int, arrival: int) -> bytes | None:
        """Go from record to record, across the heads of groups."""
        while True:
            payload = self._log.read(position)
            if payload[1] != GROUP_KIND and len(payload) >= ENTRY_HEAD_BYTES:
                found = first_arrival(payload)
                if found >= arrival:
                    return payload if found == arrival else None
            position += FRAME_BYTES + len(payload)

    def _indexed(self, number: int, arrival: int) -> bytes:
        index = self._indexes.get(number)
        if index is None:
            sealed = self._folder.sealed(number).exists()
            index = (load_index if sealed else scan_index)(self._folder, number)
            self._indexes[number] = index
            if len(self._indexes) > _INDEXES_KEPT:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(number)
        position = index.find_arrival(arrival)
        if position is not None:
            return self._log.read(position)
        for boot, payload in index.boots:
            if boot == arrival:
                return payload
        # Arrivals have no holes, so it was there.
        what = f"the record with arrival {arrival} is not among what is sound"
        raise DamageError(self._folder.segment(number).name, 0, what)

    def _drop_sealed(self) -> None:
        """Forget the notes about segments that have an index by now; called once a segment."""
        for number in list(self._places):
            if self._folder.index(number).exists():
                del self._places[number]
