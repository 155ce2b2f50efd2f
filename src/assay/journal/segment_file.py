"""Opens a segment for reading, whichever form it has now."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, Final, cast

from assay.journal.folder import Folder
from assay.journal.sealed import Sealed
from assay.journal.segment import SEGMENT_HEAD_BYTES, SegmentHead

_READ_AHEAD_BYTES: Final = 1 << 20
_BUFFER_BYTES: Final = 64 << 10


def open_segment(
    folder: Folder,
    number: int,
    *,
    buffering: int = _READ_AHEAD_BYTES,
    zeros_for_damage: bool = False,
) -> BinaryIO:
    """Open a segment; offsets are those of the segment as it was written, sealed or not.

    Parameters
    ----------
    folder : Folder
    number : int
    buffering : int
        Bytes to read ahead; a sealed segment is read by the block.
    zeros_for_damage : bool
        Give zeros for a sealed block that is damaged, to look for what is sound behind it.

    Raises
    ------
    FileNotFoundError
        If it is there in neither form.
    DamageError
        If its sealed form is damaged where every read needs it; a read raises one, too, where the
        block it needs is damaged.
    """
    try:
        return folder.segment(number).open("rb", buffering=buffering)
    except FileNotFoundError:  # sealed, maybe just now: then its other form is there
        return open_sealed(folder.sealed(number), zeros_for_damage=zeros_for_damage)


def open_sealed(path: Path, *, zeros_for_damage: bool = False) -> BinaryIO:
    """Open the sealed form of a segment, as `open_segment` does."""
    raw = Sealed(path, zeros_for_damage=zeros_for_damage)
    return cast("BinaryIO", io.BufferedReader(raw, _BUFFER_BYTES))


def segment_bytes(folder: Folder, number: int) -> int:
    """Return the size of a segment before compression.

    Raises
    ------
    FileNotFoundError
        If it is there in neither form.
    DamageError
        If the header of its sealed form is damaged.
    """
    try:
        return folder.segment(number).stat().st_size
    except FileNotFoundError:
        with Sealed(folder.sealed(number)) as sealed:
            return sealed.raw_bytes


def segment_head(folder: Folder, number: int) -> SegmentHead:
    """Return the head of a segment.

    Raises
    ------
    FileNotFoundError
        If it is there in neither form.
    JournalError
        If it is damaged, or of a format that this build does not read.
    """
    try:
        with folder.segment(number).open("rb") as file:
            return SegmentHead.decode(file.read(SEGMENT_HEAD_BYTES), folder.segment(number).name)
    except FileNotFoundError:
        with Sealed(folder.sealed(number)) as sealed:
            return sealed.head
