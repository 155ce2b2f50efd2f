"""The journal's folder: names of its files, and replacing one so that it survives a power cut."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from assay import durable
from assay.errors import JournalError

_SUFFIX: Final = ".journal"


@dataclass(frozen=True, slots=True)
class Folder:
    """Where segments, the writer's lock and its epoch lie."""

    path: Path

    def segment(self, number: int) -> Path:
        """Return the path of a segment."""
        return self.path / f"{number:08d}{_SUFFIX}"

    def numbers(self) -> list[int]:
        """Return the numbers of the segments present, which must have no gap.

        Raises
        ------
        JournalError
            If one is missing between two others.
        """
        found = sorted(int(p.stem) for p in self.path.glob(f"*{_SUFFIX}") if p.stem.isdecimal())
        for before, after in pairwise(found):
            if after != before + 1:
                raise JournalError(
                    f"{self.path}: segment {self.segment(before + 1).name} is missing; "
                    "restore it from a copy"
                )
        return found

    def sync(self) -> None:
        """Make the folder's entries durable."""
        durable.sync_folder(self.path)
