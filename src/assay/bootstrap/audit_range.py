"""Which part of the journal an audit is about, and the records of that part."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Final, Self

from assay.errors import SettingsError
from assay.ingest.decode import event_time_ms
from assay.ingest.firewall import masked
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.log import OFFSET_BITS
from assay.journal.lookup import Lookup
from assay.journal.segment import SEGMENT_HEAD_BYTES
from assay.journal.segment_file import segment_head
from assay.records import Gap

CHUNK_ROWS: Final = 16_384
"""Records that are read at once."""

_ARRIVAL: Final = Struct("<8xQ")
_ARRIVAL_MS: Final = Struct("<16xq")
_LAST: Final = (1 << 63) - 1
_WRITE_MS: Final = 600_000
"""Longest between the stamp of a record and the segment that it makes begin."""

_ACCEPTED: Final = (
    "accepted: A..B, each an arrival number or a time such as 2026-01-31T12:00:00Z; "
    "either may be left out"
)

Records = list[tuple[int, bytes]]
"""Position and payload of each."""


@dataclass(frozen=True)
class Span:
    """A range of records; arrivals include both ends, times only the first.

    Attributes
    ----------
    first, last : int
        Arrival numbers.
    since_ms, until_ms : int
        Arrival times, UTC milliseconds.
    """

    first: int = 1
    last: int = _LAST
    since_ms: int = 0
    until_ms: int = _LAST

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``A..B``.

        Raises
        ------
        SettingsError
            If it is something else, or holds nothing.
        InputError
            If a time is none.

        Examples
        --------
        >>> Span.parse("10..20").last
        20
        >>> Span.parse("2026-01-31T12:00:00Z..").since_ms
        1769860800000
        """
        begin, dots, end = text.partition("..")
        if not dots:
            raise SettingsError(f"range {masked(text)!r}; {_ACCEPTED}")
        bounds: dict[str, int] = {}
        for given, number, time in ((begin, "first", "since_ms"), (end, "last", "until_ms")):
            if given.isascii() and given.isdigit():
                bounds[number] = min(int(given), _LAST)
            elif given:
                bounds[time] = event_time_ms(given, "range")
        span = cls(**bounds)
        if span.first > span.last or span.since_ms >= span.until_ms:
            raise SettingsError(f"range {masked(text)!r} ends before it begins; {_ACCEPTED}")
        return span

    @property
    def arrivals(self) -> int:
        """How many arrival numbers it spans; 0 if that is not known."""
        return self.last - self.first + 1 if self.last < _LAST else 0

    def cut(self, records: Records) -> tuple[int, int]:
        """Return where in records, in order of arrival, those of the range begin and end."""
        begin = max(
            bisect_left(records, self.first, key=_arrival),
            bisect_left(records, self.since_ms, key=_arrival_ms),
        )
        end = min(
            bisect_right(records, self.last, key=_arrival),
            bisect_left(records, self.until_ms, key=_arrival_ms),
        )
        return begin, max(begin, end)

    def position(self, directory: Path, lookup: Lookup) -> int:
        """Return a place in the journal from which on all of the range lies."""
        found = lookup.by_arrival(self.first) if self.first > 1 else None
        if found is not None:
            return found[0]
        folder = Folder(directory)
        before = 0
        for number in folder.numbers() if directory.is_dir() else []:
            head = segment_head(folder, number)
            late = head.created_ms - _WRITE_MS > self.since_ms
            if before and (head.first_arrival > self.first or late):
                break
            before = number
        return before << OFFSET_BITS | SEGMENT_HEAD_BYTES if before else 0


@dataclass
class Reading:
    """Reads a journal in chunks from a position on.

    Attributes
    ----------
    gaps : list of Gap
        What could not be read, so far.
    """

    directory: Path
    position: int = 0
    gaps: list[Gap] = field(default_factory=list)

    def chunks(self, rows_max: int = CHUNK_ROWS) -> Iterator[tuple[Records, int]]:
        """Yield records, and where the journal goes on after them, up to where it ends now."""
        follower = Follower(self.directory, self.position, on_gap=self.gaps.append)
        while True:
            gaps = len(self.gaps)
            if records := follower.read(rows_max):
                yield records, follower.position
            elif len(self.gaps) == gaps:
                return

    def within(self, span: Span, done: Callable[[int], None]) -> Iterator[tuple[Records, int]]:
        """Yield the records of a range, telling how many there were so far."""
        rows = 0
        for records, position in self.chunks():
            begin, end = span.cut(records)
            if begin < end:
                rows += end - begin
                yield records[begin:end], position
                done(rows)
            if end < len(records):
                return


def _arrival(record: tuple[int, bytes]) -> int:
    return int(_ARRIVAL.unpack_from(record[1])[0])


def _arrival_ms(record: tuple[int, bytes]) -> int:
    return int(_ARRIVAL_MS.unpack_from(record[1])[0])
