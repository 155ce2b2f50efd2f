"""The journal's folder: names of its files, and replacing one so that it survives a power cut."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

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

    def replace(self, path: Path, data: bytes) -> None:
        """Make `path` hold `data`, durably and as a whole: after a crash it is old or new."""
        temporary = path.with_suffix(".tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            if os.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(path)
        self.sync()

    def sync(self) -> None:
        """Make the folder's entries durable."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
