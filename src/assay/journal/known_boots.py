"""The versions that decisions name, by the arrival of their boot record."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from assay.journal.boot_record import BootRecord
from assay.journal.folder import Folder
from assay.journal.index_files import load_index, scan_index
from assay.journal.lookup import Lookup


class KnownBoots(dict[int, BootRecord]):
    """Boot records in memory; one that is not there is looked up on the disk, which takes time.

    Retention may remove the segment with a record that later decisions still name: indexes hold
    the one in force when their segment begins.

    Parameters
    ----------
    directory : Path
        Where the segments lie.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._folder = Folder(directory)

    def recall(self, numbers: Iterable[int]) -> None:
        """Take in all that decisions in these segments name."""
        for number in numbers:
            sealed = self._folder.sealed(number).exists()
            index = (load_index if sealed else scan_index)(self._folder, number)
            for arrival, payload in index.boots:
                self[arrival] = BootRecord.decode(payload)

    def __missing__(self, arrival: int) -> BootRecord:
        """Look one up.

        Raises
        ------
        JournalError
            If it is not in the journal any more.
        """
        found = self[arrival] = Lookup(self._folder.path).boot(arrival)
        return found
