"""Reads a journal that another process may be writing, without its lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from assay.journal.boot_record import BootRecord
from assay.journal.entries import EntryHead, EntryKind
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
    numbers = _numbers(folder)
    for number in numbers:
        for offset, payload in _segment(folder, number, last=number == numbers[-1]):
            yield number << OFFSET_BITS | offset, payload


def last_boot(directory: Path) -> BootRecord | None:
    """Return the versions that were in force last; None if the journal is empty.

    Only the newest segments are read: every start of a scorer begins one with its boot record.

    Raises
    ------
    JournalError
        At the first damage; it names the file and the offset.
    """
    folder = Folder(directory)
    numbers = _numbers(folder)
    for number in reversed(numbers):
        boots = [
            payload
            for _, payload in _segment(folder, number, last=number == numbers[-1])
            if EntryHead.decode(payload).kind == EntryKind.boot
        ]
        if boots:
            return BootRecord.decode(boots[-1])
    return None


def _numbers(folder: Folder) -> list[int]:
    return folder.numbers() if folder.path.is_dir() else []


def _segment(folder: Folder, number: int, *, last: bool) -> Iterator[tuple[int, bytes]]:
    path = folder.segment(number)
    end = path.stat().st_size
    with path.open("rb") as file:
        SegmentHead.decode(file.read(SEGMENT_HEAD_BYTES), path.name)
        if last:
            end = sound_end(file, path.name, end)
        yield from read_records(file, path.name, end)
