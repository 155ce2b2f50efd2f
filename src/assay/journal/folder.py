"""The journal's folder: names of its files, and which segments are there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from assay import durable
from assay.errors import JournalError

_RAW: Final = ".journal"
_SEALED: Final = ".sealed"
_INDEX: Final = ".index"
_DAMAGED: Final = ".damaged"


@dataclass(frozen=True, slots=True)
class Folder:
    """Where segments, the writer's lock and its epoch lie."""

    path: Path

    def segment(self, number: int) -> Path:
        """Return the path of a segment as the writer makes it."""
        return self._file(number, _RAW)

    def sealed(self, number: int) -> Path:
        """Return the path of a segment's compressed form, which takes the other's place."""
        return self._file(number, _SEALED)

    def index(self, number: int) -> Path:
        """Return the path of a sealed segment's index."""
        return self._file(number, _INDEX)

    def damaged(self, number: int) -> Path:
        """Return the path of the marker that keeps a damaged segment as it is."""
        return self._file(number, _DAMAGED)

    def is_there(self, number: int) -> bool:
        """Return whether a segment is there, sealed or not."""
        # In this order: the sealed one is there before the other goes.
        return self.segment(number).exists() or self.sealed(number).exists()

    def numbers(self) -> list[int]:
        """Return the numbers of the segments present, sealed or not, which must have no gap.

        Raises
        ------
        JournalError
            If one is missing between two others.
        """
        found, again = self._listed(), self._listed()
        # A listing may miss a file that takes another's place meanwhile; the next one has it.
        while found != again:
            found, again = again, self._listed()
        for before, after in pairwise(found):
            if after != before + 1:
                raise JournalError(
                    f"{self.path}: segment {self.segment(before + 1).name} is missing; "
                    "restore it from a copy"
                )
        return found

    def marked(self) -> list[int]:
        """Return the numbers of the segments that have a marker of damage."""
        return sorted(self._with({_DAMAGED}))

    def sync(self) -> None:
        """Make the folder's entries durable."""
        durable.sync_folder(self.path)

    def _file(self, number: int, suffix: str) -> Path:
        return self.path / f"{number:08d}{suffix}"

    def _listed(self) -> list[int]:
        return sorted(self._with({_RAW, _SEALED}))

    def _with(self, suffixes: set[str]) -> set[int]:
        try:
            names = os.listdir(self.path)  # noqa: PTH208 — several times as fast
        except FileNotFoundError:  # nothing was written yet
            return set()
        parts = map(os.path.splitext, names)
        return {int(stem) for stem, suffix in parts if suffix in suffixes and stem.isdecimal()}
