"""The index of a segment that is not sealed: kept in memory, and added to as the segment grows."""

from __future__ import annotations

from assay.journal.folder import Folder
from assay.journal.holes import sound_groups
from assay.journal.index import SegmentIndex
from assay.journal.index_builder import IndexBuilder
from assay.journal.index_files import boot_before
from assay.journal.segment import SEGMENT_HEAD_BYTES
from assay.journal.segment_file import open_segment, segment_bytes


class GrowingIndex:
    """Reads what is sound and new in a segment whenever its index is asked for.

    Parameters
    ----------
    folder : Folder
    number : int
        Of the segment.
    """

    def __init__(self, folder: Folder, number: int) -> None:
        self._folder, self._number = folder, number
        self._builder = IndexBuilder(number, boot_before(folder, number))
        self._at = SEGMENT_HEAD_BYTES
        self._index: SegmentIndex | None = None

    def index(self) -> SegmentIndex:
        """Return the index of what is there now."""
        last = not self._folder.is_there(self._number + 1)
        end, at = segment_bytes(self._folder, self._number), self._at
        if end > at:
            name = self._folder.segment(self._number).name
            with open_segment(self._folder, self._number, zeros_for_damage=True) as file:
                for stop, records in sound_groups(file, name, at, end, _ignore, last=last):
                    self._builder.add(records)
                    self._at = stop
        if self._index is None or self._at > at:
            self._index = self._builder.index()
        return self._index


def _ignore(*_hole: object) -> None:
    """Leave a hole alone: what looks for records in it finds none, and followers tell of it."""
