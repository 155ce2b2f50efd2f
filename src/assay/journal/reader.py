"""Reads a journal that another process may be writing, without its lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from assay.journal.boot_record import BootRecord
from assay.journal.entries import EntryKind
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.frames import PAYLOAD_VERSION
from assay.journal.index_files import boot_before
from assay.journal.segment import SEGMENT_HEAD_BYTES
from assay.journal.segments import OFFSET_BITS

_BOOT: Final = bytes((PAYLOAD_VERSION, EntryKind.boot))


def read_journal(directory: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (position, payload) of every record that is whole now, in order.

    A write under way at the end of the last segment is left out.

    Raises
    ------
    DamageError
        At the first damage.
    """
    follower = Follower(directory)
    while records := follower.read():
        yield from records


def last_boot(directory: Path) -> BootRecord | None:
    """Return the versions that were in force last; None if the journal is empty.

    Only the last segment is read through; of the sealed ones the index tells.

    Raises
    ------
    DamageError
        If the last segment is damaged.
    """
    folder = Folder(directory)
    numbers = folder.numbers()
    if not numbers:
        return None
    follower = Follower(directory, numbers[-1] << OFFSET_BITS | SEGMENT_HEAD_BYTES)
    boots = []
    while records := follower.read():
        boots += [payload for _, payload in records if payload[:2] == _BOOT]
    boots = boots or [payload for _, payload in boot_before(folder, numbers[-1])]
    return BootRecord.decode(boots[-1]) if boots else None
