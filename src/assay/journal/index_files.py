"""Index files: found, or made anew from their segment."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

from assay import durable
from assay.errors import DamageError
from assay.journal.folder import Folder
from assay.journal.holes import sound_groups
from assay.journal.index import Boots, SegmentIndex
from assay.journal.index_builder import IndexBuilder
from assay.journal.segment import SEGMENT_HEAD_BYTES
from assay.journal.segment_file import open_segment, segment_bytes

log: Final = logging.getLogger("assay.journal")


def load_index(folder: Folder, number: int) -> SegmentIndex:
    """Return the index of a sealed segment, made anew if its file is missing or damaged.

    Raises
    ------
    JournalError
        If the file is of a format that this build does not read, or the segment cannot be read.
    FileNotFoundError
        If the segment is not there.
    """
    path = folder.index(number)
    try:
        return SegmentIndex.load(path)
    except (DamageError, FileNotFoundError) as error:
        index = scan_index(folder, number)
        why = error if isinstance(error, DamageError) else f"{path.name} is missing"
        log.warning("%s: made anew from the segment", why)
        with suppress(OSError):  # a reader may lack the right or the room: the next one tries
            durable.replace(path, index.encode())
        return index


def scan_index(folder: Folder, number: int) -> SegmentIndex:
    """Return the index of what is sound in a segment that has a successor, from its records."""
    builder = IndexBuilder(number, boot_before(folder, number))
    with open_segment(folder, number, zeros_for_damage=True) as file:
        end, name = segment_bytes(folder, number), folder.segment(number).name
        for _, records in sound_groups(file, name, SEGMENT_HEAD_BYTES, end, lambda *_: None):
            builder.add(records)
    return builder.index()


def boot_before(folder: Folder, number: int) -> Boots:
    """Return the boot record in force when a segment begins; empty if none is there any more.

    Every start of a scorer begins a segment with one, so the search is short.
    """
    for before in range(number - 1, 0, -1):
        boots = _boots(folder, before)
        if boots is None:
            break
        if boots:
            return boots[-1:]
    return []


def _boots(folder: Folder, number: int) -> Boots | None:
    """Return the boot records of a segment; None if the segment is not there."""
    with suppress(DamageError, FileNotFoundError):
        return SegmentIndex.load(folder.index(number)).boots
    builder = IndexBuilder(number, [])
    try:
        with open_segment(folder, number, zeros_for_damage=True) as file:
            end, name = segment_bytes(folder, number), folder.segment(number).name
            for _, records in sound_groups(file, name, SEGMENT_HEAD_BYTES, end, lambda *_: None):
                builder.add(records)
    except FileNotFoundError:
        return None
    except DamageError:  # nothing of it can be read
        return []
    return builder.index().boots
