"""The index of a segment: where each of its records stands, by arrival and by transaction.

::

    header   magic 8 | format u32 | records u32 | xxh3 u64 of all that follows |
             segment u64 | bytes of the boots u64                             = 40 bytes
    entries  per record: arrival u64 | arrival_ms i64 | transaction u64 | digest u64 | position i64
    order    u32 per record: the entries in order of transaction
    boots    per boot record: arrival u64 | bytes u32 | payload

The entries are in order of arrival. A boot record comes first that was in force when the segment
began, so that every decision finds its versions without another segment.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left, bisect_right
from itertools import takewhile
from pathlib import Path
from struct import Struct
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from assay.errors import DamageError, JournalError

FORMAT: Final = 1
"""Version of the layout."""

INDEXED: Final = np.dtype(
    [
        ("arrival", "<u8"),
        ("arrival_ms", "<i8"),
        ("transaction", "<u8"),  # the event's id hash; 0: no decision
        ("digest", "<u8"),  # what idempotency compares; 0: no decision
        ("position", "<i8"),
    ]
)

_MAGIC: Final = b"ASSAYIDX"
_HEADER: Final = Struct("<8sIIQQQ")
_HASHED_FROM: Final = 24
_BOOT: Final = Struct("<QI")

Boots = list[tuple[int, bytes]]
"""Arrivals and payloads of boot records."""


class SegmentIndex:
    """Where the records of one segment stand.

    Parameters
    ----------
    number : int
        Of the segment.
    entries : ndarray of `INDEXED`, shape (n,)
        In order of arrival.
    boots : list of (int, bytes)
        Of the boot records within, after the one in force at the beginning.
    order : ndarray of uint32, shape (n,), optional
        The entries in order of transaction; without it, finding one looks at all.

    Attributes
    ----------
    number, entries, boots
        As given.
    """

    def __init__(
        self,
        number: int,
        entries: NDArray[np.void],
        boots: Boots,
        order: NDArray[np.uint32] | None = None,
    ) -> None:
        self.number, self.entries, self.boots = number, entries, boots
        self._order = order

    @classmethod
    def load(cls, path: Path) -> Self:
        """Map an index file into memory and check it.

        Raises
        ------
        DamageError
            If it is not as it was written.
        JournalError
            If it is of a format that this build does not read.
        FileNotFoundError
        """
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size or not head.startswith(_MAGIC):
                raise DamageError(path.name, 0, "it does not begin like an index")
            data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        _, version, records, digest, number, boot_bytes = _HEADER.unpack(head)
        if version != FORMAT:
            raise JournalError(f"{path.name}: has format {version}; accepted: {FORMAT}")
        order_at = _HEADER.size + records * INDEXED.itemsize
        boots_at = order_at + 4 * records
        if boots_at + boot_bytes != len(data):
            raise DamageError(path.name, 0, f"it has {len(data)} bytes for {records} records")
        if xxh3_64_intdigest(memoryview(data)[_HASHED_FROM:]) != digest:
            raise DamageError(path.name, 0, "its checksum is wrong")
        if path.stem.isdecimal() and int(path.stem) != number:
            raise DamageError(path.name, 0, f"it is the index of segment {number}")
        entries = np.frombuffer(data, INDEXED, records, _HEADER.size)
        order = np.frombuffer(data, np.uint32, records, order_at)
        return cls(number, entries, _decode_boots(data[boots_at:], path.name), order)

    def encode(self) -> bytes:
        """Return what an index file holds."""
        boots = b"".join(
            _BOOT.pack(arrival, len(payload)) + payload for arrival, payload in self.boots
        )
        order = np.argsort(self.entries["transaction"], kind="stable").astype(np.uint32)
        body = self.entries.tobytes() + order.tobytes() + boots
        fields = (self.number, len(boots))
        count = len(self.entries)
        head = _HEADER.pack(_MAGIC, FORMAT, count, 0, *fields)
        digest = xxh3_64_intdigest(head[_HASHED_FROM:] + body)
        return _HEADER.pack(_MAGIC, FORMAT, count, digest, *fields) + body

    @property
    def next_arrival(self) -> int:
        """One more than the last record's arrival; 0 without records."""
        return int(self.entries["arrival"][-1]) + 1 if len(self.entries) else 0

    @property
    def first_arrival_ms(self) -> int:
        """Of the first record, UTC milliseconds; 0 without records."""
        return int(self.entries["arrival_ms"][0]) if len(self.entries) else 0

    @property
    def last_arrival_ms(self) -> int:
        """Of the last record, UTC milliseconds; 0 without records."""
        return int(self.entries["arrival_ms"][-1]) if len(self.entries) else 0

    def find_arrival(self, arrival: int) -> int | None:
        """Return the position of the record with an arrival number; None if it is not here."""
        arrivals = self.entries["arrival"]
        # NumPy's own search would first copy the whole column.
        at = bisect_right(range(len(arrivals)), arrival, key=lambda row: int(arrivals[row])) - 1
        if at < 0 or int(arrivals[at]) != arrival:
            return None
        return int(self.entries["position"][at])

    def find_transaction(self, transaction: int) -> list[int]:
        """Return the positions of the decisions about an id hash, in order."""
        if not transaction:
            return []
        hashes, order = self.entries["transaction"], self._order
        if order is None:
            rows = np.flatnonzero(hashes == np.uint64(transaction)).tolist()
        else:
            places = range(len(order))
            first = bisect_left(places, transaction, key=lambda at: int(hashes[order[at]]))
            rows = sorted(
                takewhile(
                    lambda row: int(hashes[row]) == transaction,
                    (int(order[at]) for at in places[first:]),
                )
            )
        return [int(self.entries["position"][row]) for row in rows]


def _decode_boots(data: bytes, name: str) -> Boots:
    boots: Boots = []
    at = 0
    while at + _BOOT.size <= len(data):
        arrival, size = _BOOT.unpack_from(data, at)
        at += _BOOT.size + size
        boots.append((arrival, data[at - size : at]))
    if at != len(data):
        raise DamageError(name, 0, "its boot records do not fit")
    return boots
