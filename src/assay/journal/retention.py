"""Retention: old sealed segments go, the oldest first, and none that somebody still needs."""

from __future__ import annotations

from assay.journal.folder import Folder
from assay.journal.index_files import load_index
from assay.journal.segments import OFFSET_BITS


def drop_segments(folder: Folder, before_ms: int, before_position: int) -> list[int]:
    """Remove the sealed segments all of whose records are old and no longer needed.

    It stops at the first segment that has to stay, so what is left has no gap; a quarantined one
    stays for ever, and so does what follows it. The newest sealed one stays, because its index
    names the versions in force after it. Each removal is durable before the next.

    Parameters
    ----------
    folder : Folder
    before_ms : int
        Records that arrived before this, UTC milliseconds, are old.
    before_position : int
        What stands before this position is no longer needed.

    Returns
    -------
    list of int
        The numbers of the segments that went.

    Raises
    ------
    JournalError
        If a segment is missing between two others, or cannot be read.
    """
    dropped: list[int] = []
    for number in folder.numbers():
        if not _may_go(folder, number, before_ms, before_position):
            break
        folder.sealed(number).unlink()
        folder.index(number).unlink(missing_ok=True)
        folder.sync()
        dropped.append(number)
    return dropped


def _may_go(folder: Folder, number: int, before_ms: int, before_position: int) -> bool:
    if number >= before_position >> OFFSET_BITS:
        return False
    if folder.damaged(number).exists() or not _is_sealed(folder, number):
        return False
    if not _is_sealed(folder, number + 1):  # whose index will need to know the versions in force
        return False
    return load_index(folder, number).last_arrival_ms < before_ms


def _is_sealed(folder: Folder, number: int) -> bool:
    return folder.sealed(number).exists() and not folder.segment(number).exists()
