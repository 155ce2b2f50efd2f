"""Recovery: the events of a journal, in arrays, without decoding the rest of each record."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assay.errors import DamageError
from assay.journal.decision_record import DIGEST_AT, EVENT_END, PUBLIC_BYTES, check_plain
from assay.journal.entries import EntryHead, EntryKind, first_arrival
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.frames import PAYLOAD_VERSION
from assay.journal.index import SegmentIndex
from assay.journal.log import OFFSET_BITS
from assay.journal.segment import SEGMENT_HEAD_BYTES
from assay.records import EVENT, Events, Gap

log = logging.getLogger("assay.journal")

_ROW: Final = np.dtype([("body_digest", "<u8"), ("event", EVENT)])


@dataclass(frozen=True, slots=True)
class RecoveredEvents:
    """A stretch of a journal.

    Attributes
    ----------
    events : ndarray of `EVENT`, shape (n,)
        In order of arrival.
    body_digests : ndarray of uint64, shape (n,)
        What idempotency compares.
    positions : ndarray of int64, shape (n,)
        Where each decision's record stands.
    others : list of (int, bytes)
        Position and payload of each record that is not a decision; its arrival number says
        where among the events it belongs.
    """

    events: Events
    body_digests: NDArray[np.uint64]
    positions: NDArray[np.int64]
    others: list[tuple[int, bytes]]

    def by_segment(self) -> Iterator[tuple[list[int], list[int]]]:
        """Yield arrivals and positions of all its records, in order, segment by segment."""
        arrivals = [first_arrival(payload) for _, payload in self.others]
        places = [position for position, _ in self.others]
        both = np.concatenate([self.events["arrival"], np.array(arrivals, np.uint64)])
        positions = np.concatenate([self.positions, np.array(places, np.int64)])
        order = np.argsort(positions, kind="stable")
        both, positions = both[order], positions[order]
        cuts = np.flatnonzero(np.diff(positions >> OFFSET_BITS)) + 1
        for run, at in zip(np.split(both, cuts), np.split(positions, cuts), strict=True):
            yield run.tolist(), at.tolist()


@dataclass(frozen=True, slots=True)
class RecalledIds:
    """Ids of a segment: columns as `IdempotencyTable.insert_many` takes them, each of n rows.

    `boots` are the arrivals and payloads of the segment's boot records, and `arrivals` those of the
    decisions if the segment has no index that would tell them.
    """

    number: int
    boots: list[tuple[int, bytes]]
    id_hashes: NDArray[np.uint64]
    body_digests: NDArray[np.uint64]
    positions: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    arrivals: NDArray[np.uint64] | None = None


def recalled_ids(
    folder: Folder, before: int, *, newest_ms: int, horizon_ms: int, ids_max: int
) -> Iterator[RecalledIds]:
    """Yield the ids of decisions before a position that may still be asked for, oldest first.

    Indexes give those of sealed segments; the others are read, but for what is damaged there: a
    transaction in a hole that is sent again counts as new.

    Parameters
    ----------
    folder : Folder
    before : int
        A position.
    newest_ms : int
        Arrival of the newest record before it.
    horizon_ms, ids_max : int
        For how long, and how many of the last ids are remembered.
    """
    # Those of an index are counted now and loaded again later: all at once they would take much
    # memory, and a descriptor each.
    parts: list[int | RecalledIds] = []
    count = 0
    for number in reversed(folder.numbers()):
        if number > before >> OFFSET_BITS:
            continue
        part = _indexed(folder, number, before)
        found = part or _read(folder, number, before)
        parts.append(found if part is None else number)
        count += len(found.times_ms)
        if count >= ids_max or (
            len(found.times_ms) and found.times_ms[0] <= newest_ms - horizon_ms
        ):
            break
    while parts:
        at = parts.pop()
        if isinstance(at, int):
            yield _indexed(folder, at, before) or _read(folder, at, before)
        else:
            yield at


def _indexed(folder: Folder, number: int, before: int) -> RecalledIds | None:
    """Return what a segment's index tells; None if there is none that can be used."""
    if not folder.index(number).exists():
        return None
    try:
        index = SegmentIndex.load(folder.index(number))
    except DamageError as error:
        log.warning("an index is not used, the segment is read instead: %s", error)
        return None
    entries = index.entries
    rows = entries[(entries["position"] < before) & (entries["transaction"] != 0)]
    return RecalledIds(
        number,
        index.boots,
        rows["transaction"],
        rows["digest"],
        rows["position"],
        rows["arrival_ms"],
    )


def _read(folder: Folder, number: int, before: int) -> RecalledIds:
    end = min(before, (number + 1) << OFFSET_BITS)

    def records() -> Iterator[tuple[int, bytes]]:
        holes: list[Gap] = []
        follower = Follower(
            folder.path, number << OFFSET_BITS | SEGMENT_HEAD_BYTES, on_gap=holes.append
        )
        while found := follower.read():
            yield from (record for record in found if record[0] < end)
            if found[-1][0] >= end:
                break
        for hole in holes:
            log.error("ids in a damaged part of the journal are not known: %s", hole.why)

    parts = list(scan_events(records()))
    none: list[RecoveredEvents] = [_chunk([], [], [])]
    events = np.concatenate([part.events for part in parts or none])
    others = [payload for part in parts for _, payload in part.others]
    return RecalledIds(
        number,
        [(first_arrival(p), p) for p in others if EntryHead.decode(p).kind == EntryKind.boot],
        events["transaction"],
        np.concatenate([part.body_digests for part in parts or none]),
        np.concatenate([part.positions for part in parts or none]),
        events["arrival_ms"],
        events["arrival"],
    )


def scan_events(
    entries: Iterable[tuple[int, bytes]], rows_max: int = 65_536
) -> Iterator[RecoveredEvents]:
    """Collect the events of a scan, at most `rows_max` at a time.

    Parameters
    ----------
    entries : iterable of (int, bytes)
        What `Log.scan` yields.

    Raises
    ------
    JournalError
        If a record is of a version or format that this build does not read.
    """
    rows: list[bytes] = []
    positions: list[int] = []
    others: list[tuple[int, bytes]] = []
    plain_decision = bytes((PAYLOAD_VERSION, EntryKind.decision))
    for position, payload in entries:
        if payload[:2] != plain_decision and EntryHead.decode(payload).kind != EntryKind.decision:
            others.append((position, payload))
            continue
        if len(payload) < EVENT_END or payload[PUBLIC_BYTES] != 0:
            check_plain(payload)
        rows.append(payload[DIGEST_AT:EVENT_END])
        positions.append(position)
        if len(rows) == rows_max:
            yield _chunk(rows, positions, others)
            rows, positions, others = [], [], []
    if rows or others:
        yield _chunk(rows, positions, others)


def _chunk(
    rows: list[bytes], positions: list[int], others: list[tuple[int, bytes]]
) -> RecoveredEvents:
    data = np.frombuffer(b"".join(rows), _ROW)
    return RecoveredEvents(
        np.ascontiguousarray(data["event"]),
        np.ascontiguousarray(data["body_digest"]),
        np.array(positions, np.int64),
        others,
    )
