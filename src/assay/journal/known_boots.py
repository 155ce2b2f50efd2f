"""The versions that decisions name, by the arrival of their boot record."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from assay.journal.boot_record import BootRecord
from assay.journal.folder import Folder
from assay.journal.index_files import boot_before, load_index
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

    def take(self, boots: Iterable[tuple[int, bytes]]) -> None:
        """Take in boot records: their arrivals and payloads."""
        for arrival, payload in boots:
            self[arrival] = BootRecord.decode(payload)

    def take_before(self, number: int) -> None:
        """Take in the one in force when a segment begins, if a segment before it tells."""
        self.take(boot_before(self._folder, number))

    def take_oldest(self) -> None:
        """Take in what the oldest segment's index knows of those that are removed."""
        oldest = self._folder.numbers()[:1]
        if oldest and self._folder.sealed(oldest[0]).exists():
            self.take(load_index(self._folder, oldest[0]).boots)

    def __missing__(self, arrival: int) -> BootRecord:
        """Look one up.

        Raises
        ------
        JournalError
            If it is not in the journal any more.
        """
        found = self[arrival] = Lookup(self._folder.path).boot(arrival)
        return found
