"""Recovery: the events of a journal, in arrays, without decoding the rest of each record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assay.journal.decision_record import DIGEST_AT, EVENT_END, PUBLIC_BYTES, check_plain
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.frames import PAYLOAD_VERSION
from assay.records import EVENT, Events

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
