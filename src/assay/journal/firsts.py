"""Which segment an arrival number lies in."""

from __future__ import annotations

from bisect import bisect_right

from assay.errors import DamageError
from assay.journal.folder import Folder
from assay.journal.index_files import load_index, scan_index
from assay.journal.segment_file import segment_head


class Firsts:
    """The first arrival number of each segment; each is looked up once.

    Parameters
    ----------
    folder : Folder
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._known: dict[int, int] = {}

    def segment_of(self, arrival: int, numbers: list[int]) -> int | None:
        """Return the segment, of those given, that begins at or last before an arrival.

        Raises
        ------
        FileNotFoundError
            If retention removed one just now.
        """
        at = bisect_right(numbers, arrival, key=self._first)
        return numbers[at - 1] if at else None

    def _first(self, number: int) -> int:
        first = self._known.get(number)
        if first is None:
            first = self._known[number] = self._read(number)
        return first

    def _read(self, number: int) -> int:
        try:
            return segment_head(self._folder, number).first_arrival
        except DamageError:
            sealed = self._folder.sealed(number).exists()
            entries = (load_index if sealed else scan_index)(self._folder, number).entries
            if not len(entries):
                raise
            return int(entries["arrival"][0])
