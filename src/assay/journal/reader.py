"""Reads a journal that another process may be writing, without its lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from assay.journal.folder import Folder
from assay.journal.log import OFFSET_BITS
from assay.journal.segment import SEGMENT_HEAD_BYTES, SegmentHead, read_records, sound_end


def read_journal(directory: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (position, payload) of every record that is whole now, in order.

    A write under way at the end of the last segment is left out.

    Raises
    ------
    JournalError
        At the first damage; it names the file and the offset.
    """
    folder = Folder(directory)
    numbers = folder.numbers() if directory.is_dir() else []
    for number in numbers:
        path = folder.segment(number)
        end = path.stat().st_size
        with path.open("rb") as file:
            SegmentHead.decode(file.read(SEGMENT_HEAD_BYTES), path.name)
            if number == numbers[-1]:
                end = sound_end(file, path.name, end)
            for offset, payload in read_records(file, path.name, end):
                yield number << OFFSET_BITS | offset, payload
