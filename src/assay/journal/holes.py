"""Reads the sound groups of a segment, and tells where there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from assay.errors import DamageError
from assay.journal.segment import next_sound_group, read_groups

OnHole = Callable[[int, int, DamageError], None]
"""Told from which offset to which nothing is sound, and what is wrong there."""


def sound_groups(
    file: BinaryIO, name: str, start: int, end: int, on_hole: OnHole, *, last: bool = False
) -> Iterator[tuple[int, list[tuple[int, bytes]]]]:
    """Yield (end, records) of every sound group from `start`, where one begins, to `end`.

    Parameters
    ----------
    file : BinaryIO
        A segment, opened so that damaged blocks are zeros.
    name : str
        Of the segment, for messages.
    start, end : int
    on_hole : callable
        Called when damage is met, before what follows it is yielded.
    last : bool
        The segment has no successor, so an unfinished write may end it.
    """
    at = start
    while at < end:
        try:
            for stop, records in read_groups(file, name, at, end, last=last):
                yield stop, records
                at = stop
        except DamageError as bad:
            found = next_sound_group(file, at, end) or end
            on_hole(at, found, bad)
            at = found
        else:
            return
