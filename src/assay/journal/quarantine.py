"""Quarantine: a durable mark on a damaged segment, which is then kept as it is."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import msgspec

from assay import durable
from assay.errors import DamageError
from assay.journal.folder import Folder

log: Final = logging.getLogger("assay.journal")


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A segment that is neither compressed nor deleted, because a part of it is damaged.

    Attributes
    ----------
    number : int
        Of the segment.
    offset : int
        Where the first damage was found, counted before compression.
    what : str
        What is wrong there.
    found_ms : int
        When it was found, UTC milliseconds.
    """

    number: int
    offset: int
    what: str
    found_ms: int


def quarantine(folder: Folder, number: int, bad: DamageError, now_ms: int) -> Quarantine:
    """Mark a segment durably; a mark that is there already stays."""
    mark = Quarantine(number, bad.offset, bad.what, now_ms)
    durable.write_once(folder.damaged(number), msgspec.json.encode(mark))
    log.error("%s: the segment is quarantined", bad)
    return mark


def quarantined(folder: Folder) -> list[Quarantine]:
    """Return all marks, by number; one that cannot be read marks its segment all the same."""
    return [_read(folder, number) for number in folder.marked()]


def _read(folder: Folder, number: int) -> Quarantine:
    try:
        return msgspec.json.decode(folder.damaged(number).read_bytes(), type=Quarantine)
    except (msgspec.DecodeError, OSError):
        return Quarantine(number, 0, "its mark cannot be read", 0)
