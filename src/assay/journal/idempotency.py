"""Idempotency: which transaction ids were decided lately, and where their records stand.

Ids are kept in *generations*. A generation is a list of entries in order of insertion (id hash,
body digest, position, arrival time: 32 bytes) and an open-addressing index of entry numbers, at
most half full. A full generation is followed by the next; the oldest is forgotten as a whole once
none of its ids can still be asked for.
Because entries are numbered in order, "among the last n ids" holds exactly and not only by
generation.

A 64-bit hash does not prove that two ids are equal, so a caller compares the id in the record:
see `IdempotencyTable.lookup`.
"""

from __future__ import annotations

import mmap
from collections import deque
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

NEW: Final = -1
"""The id was not seen within the promise."""

_EXPIRED: Final = -(1 << 63)
"""Not the complement of any position that a journal reaches."""

_SHARES: Final = 8
"""A generation holds an eighth of the ids promised."""

_SLOTS: Final = 11
"""Eight full, one ended by age, one being filled, one being given back."""

_ENTRY_WORDS: Final = 4
_PAGE_ENTRIES: Final = 128
_INDEX_MIN: Final = 1024
_RELEASE_BYTES: Final = 16 << 20
"""Given back to the system at a time: about a millisecond."""

_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)


@numba.njit("i8(u4[:,::1], u8[:,::1], i8[:,::1], u8, u8, i8, i8)", cache=True)
def _find(
    index: NDArray[np.uint32],
    entries: NDArray[np.uint64],
    order: NDArray[np.int64],
    id_hash: int,
    body_digest: int,
    first_ordinal: int,
    expired_ms: int,
) -> int:
    """Look an id up, newest generation first; `order` holds slot and first ordinal of each."""
    mask = np.uint64(index.shape[1] - 1)
    capacity = entries.shape[0] // index.shape[0]
    start = ((id_hash * _SPREAD) >> np.uint64(32)) & mask
    for generation in range(order.shape[0]):
        slot = order[generation, 0]
        at = start
        while index[slot, at] != 0:
            number = np.int64(index[slot, at]) - 1
            row = slot * capacity + number
            if entries[row, 0] == id_hash:
                if order[generation, 1] + number < first_ordinal:
                    return _EXPIRED
                if np.int64(entries[row, 3]) <= expired_ms:
                    return _EXPIRED
                position = int(entries[row, 2])
                return position if entries[row, 1] == body_digest else ~position
            at = (at + np.uint64(1)) & mask
    return NEW


@numba.njit("void(u4[:,::1], u8[:,::1], i8, i8, u8[::1], u8[::1], i8[::1], i8[::1])", cache=True)
def _insert(
    index: NDArray[np.uint32],
    entries: NDArray[np.uint64],
    slot: int,
    used: int,
    id_hashes: NDArray[np.uint64],
    body_digests: NDArray[np.uint64],
    positions: NDArray[np.int64],
    arrival_ms: NDArray[np.int64],
) -> None:
    """Add entries to a generation that has room for them; an equal hash points to the newer."""
    mask = np.uint64(index.shape[1] - 1)
    first = slot * (entries.shape[0] // index.shape[0])
    for i in range(id_hashes.shape[0]):
        number = used + i
        row = first + number
        entries[row, 0] = id_hashes[i]
        entries[row, 1] = body_digests[i]
        entries[row, 2] = np.uint64(positions[i])
        entries[row, 3] = np.uint64(arrival_ms[i])
        at = ((id_hashes[i] * _SPREAD) >> np.uint64(32)) & mask
        while index[slot, at] != 0:
            if entries[first + np.int64(index[slot, at]) - 1, 0] == id_hashes[i]:
                break
            at = (at + np.uint64(1)) & mask
        index[slot, at] = np.uint32(number + 1)


class _Generation:
    """Which slot it fills, how many ids came before it, how many it holds, and their times."""

    __slots__ = ("first_ms", "first_ordinal", "newest_ms", "slot", "used")

    def __init__(self, slot: int, first_ordinal: int, first_ms: int) -> None:
        self.slot, self.first_ordinal, self.used = slot, first_ordinal, 0
        self.first_ms = self.newest_ms = first_ms


class IdempotencyTable:
    """Finds an id exactly if it is younger than the horizon and among the last ids inserted.

    One thread inserts; any thread looks up.
    Its time is the newest arrival inserted, or the caller's if that is later: when a clock steps
    back, an id that was too old stays so.
    Memory is reserved at once and touched as it fills: 40 bytes an id in the long run.

    Parameters
    ----------
    ids_max : int
        How many of the last ids are remembered.
    horizon_ms : int
        For how long, by arrival time.

    Attributes
    ----------
    expired : int
        Lookups of an id that was remembered beyond the promise, and so counted as new.
    dropped : int
        Ids forgotten with their generation.
    """

    def __init__(self, ids_max: int, horizon_ms: int) -> None:
        assert ids_max > 0, ids_max
        assert horizon_ms > 0, horizon_ms
        self._ids_max, self._horizon_ms = ids_max, horizon_ms
        share = -(-ids_max // _SHARES)
        self._capacity = -(-share // _PAGE_ENTRIES) * _PAGE_ENTRIES
        self._slot_count = max(_INDEX_MIN, 1 << (2 * self._capacity - 1).bit_length())
        self._index_map = _reserve(_SLOTS * self._slot_count * 4)
        self._entry_map = _reserve(_SLOTS * self._capacity * _ENTRY_WORDS * 8)
        self._index = np.frombuffer(self._index_map, np.uint32).reshape(_SLOTS, -1)
        self._entries = np.frombuffer(self._entry_map, np.uint64).reshape(-1, _ENTRY_WORDS)
        self._free = deque(range(_SLOTS))
        self._releasing: deque[tuple[int, mmap.mmap, int, int]] = deque()
        self._generations: deque[_Generation] = deque()
        self._order = np.empty((0, 2), np.int64)
        self._total = self._newest_ms = 0
        self.expired = self.dropped = 0

    @property
    def size(self) -> int:
        """Entries kept, those beyond the promise included."""
        return sum(generation.used for generation in self._generations)

    @property
    def bytes(self) -> int:
        """Memory in use, not merely reserved."""
        index_bytes = len(self._generations) * self._slot_count * 4
        return index_bytes + self.size * _ENTRY_WORDS * 8

    def lookup(self, id_hash: int, body_digest: int, now_ms: int) -> int:
        """Look one id up.

        Parameters
        ----------
        id_hash, body_digest : int
            Keyed 64-bit digests of the transaction id and of the canonical transaction.
        now_ms : int
            Arrival of the request, UTC milliseconds.

        Returns
        -------
        int
            `NEW`; or the position of the record of an equal id with an equal body; or, less
            than `NEW`, the complement ``~position`` of a record of an equal id with another body.
            In both latter cases the caller reads the record and compares the id's text: if it
            differs, two ids share a hash and this one is new; else it is a repeat, or a
            conflict.
        """
        time_ms = now_ms if now_ms > self._newest_ms else self._newest_ms  # noqa: FURB136 - hot
        found: int = _find(
            self._index,
            self._entries,
            self._order,
            id_hash,
            body_digest,
            self._total - self._ids_max,
            time_ms - self._horizon_ms,
        )
        if found == _EXPIRED:
            self.expired += 1
            return NEW
        return found

    def insert_many(
        self,
        id_hashes: NDArray[np.uint64],
        body_digests: NDArray[np.uint64],
        positions: NDArray[np.int64],
        arrival_ms: NDArray[np.int64],
    ) -> None:
        """Remember ids that were new, in order of arrival; each array has shape (n,).

        Positions are larger than 0, as every one of a journal is.
        Recovery calls it with what `scan_events` collects.
        """
        # Copies: columns of a journal's bytes are strided and may not be written to.
        hashes = np.array(id_hashes, np.uint64)
        digests = np.array(body_digests, np.uint64)
        places = np.array(positions, np.int64)
        times = np.array(arrival_ms, np.int64)
        self._release_some()
        start, n = 0, len(hashes)
        while start < n:
            self._newest_ms = max(self._newest_ms, int(times[start]))
            generation = self._open_generation(self._newest_ms)
            stop = min(n, start + self._capacity - generation.used)
            _insert(
                self._index,
                self._entries,
                generation.slot,
                generation.used,
                hashes[start:stop],
                digests[start:stop],
                places[start:stop],
                times[start:stop],
            )
            generation.used += stop - start
            self._newest_ms = max(self._newest_ms, int(times[start:stop].max()))
            generation.newest_ms = self._newest_ms
            self._total += stop - start
            start = stop

    def _open_generation(self, now_ms: int) -> _Generation:
        """Return the generation being filled; begin one if it is full, or old and alone."""
        if self._generations:
            last = self._generations[-1]
            full = last.used == self._capacity
            old = last.first_ms <= now_ms - self._horizon_ms
            if not full and not old:
                return last
            self._drop(now_ms)
            if not full and len(self._generations) > 1:
                return last
        new = _Generation(self._take_slot(), self._total, now_ms)
        self._generations.append(new)
        self._publish()
        return new

    def _drop(self, now_ms: int) -> None:
        """Forget the oldest generations that nobody can still ask for, but never the last."""
        generations = self._generations
        while len(generations) > 1:
            oldest = generations[0]
            aged = oldest.newest_ms <= now_ms - self._horizon_ms
            surplus = self._total - generations[1].first_ordinal >= self._ids_max
            if not aged and not surplus:
                return
            generations.popleft()
            self.dropped += oldest.used
            self._publish()
            self._release(oldest.slot)

    def _publish(self) -> None:
        rows = [(g.slot, g.first_ordinal) for g in reversed(self._generations)]
        self._order = np.array(rows, np.int64).reshape(-1, 2)

    def _release(self, slot: int) -> None:
        for area in (self._index_map, self._entry_map):
            size = len(area) // _SLOTS
            for at in range(0, size, _RELEASE_BYTES):
                piece = min(_RELEASE_BYTES, size - at)
                self._releasing.append((slot, area, slot * size + at, piece))

    def _release_some(self) -> None:
        """Give one piece of a forgotten generation back; a slot whose last piece went is free."""
        if self._releasing:
            slot, area, start, size = self._releasing.popleft()
            area.madvise(mmap.MADV_DONTNEED, start, size)
            if not self._releasing or self._releasing[0][0] != slot:
                self._free.append(slot)

    def _take_slot(self) -> int:
        while not self._free:
            assert self._releasing, "more generations than slots"
            self._release_some()
        return self._free.popleft()


def _reserve(size: int) -> mmap.mmap:
    """Return zeroed private memory that the system gives page by page when it is touched."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
