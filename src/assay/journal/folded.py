"""Decodes a part of the journal for those who keep the feature state: events, rows, checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assay.errors import JournalError
from assay.journal.boot_record import decode_switch
from assay.journal.check_record import decode_check
from assay.journal.decision_record import (
    COUNT_AT,
    EVENT_END,
    PUBLIC_BYTES,
    check_plain,
    fixed_dtype,
)
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.frames import PAYLOAD_VERSION
from assay.records import Check, Events, Switch, empty_events

_DECISION: Final = bytes((PAYLOAD_VERSION, EntryKind.decision))
_PASSED: Final = frozenset(map(int, (EntryKind.decision, EntryKind.label_report, EntryKind.label)))

Records = list[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Folded:
    """A part of the journal in order of arrival: a switch, then decisions, then a check.

    Attributes
    ----------
    position : int
        Where the journal goes on after it.
    records : int
        How many it holds, of whatever kind.
    next_arrival, arrival_ms : int
        The number after its last record's, and when that arrived.
    events : ndarray of `EVENT`, shape (n,)
        Of its decisions.
    features : ndarray of float32, shape (n, f)
        As they were journalled.
    boots : ndarray of uint64, shape (n,)
        Arrival of the switch in force for each.
    switch : Switch or None
        What it begins with.
    check : Check or None
        What it ends with: tells of the state that its events leave behind.
    """

    position: int
    records: int
    next_arrival: int
    arrival_ms: int
    events: Events
    features: NDArray[np.float32]
    boots: NDArray[np.uint64]
    switch: Switch | None
    check: Check | None


def decode_folded(records: Records, position_after: int) -> list[Folded]:
    """Decode records, in the order of the journal; texts and labels are left out.

    Parameters
    ----------
    records : list of (int, bytes)
        Positions and payloads, as `Follower.read` gives them.
    position_after : int
        Where the journal goes on after them.

    Raises
    ------
    JournalError
        If a record is of a kind, version or format that this build does not read, or its sizes
        contradict each other.
    """
    return [_part(part, position) for part, position in _parts(records, position_after)]


def _parts(records: Records, position_after: int) -> Iterator[tuple[Records, int]]:
    """Cut before each switch and behind each check."""
    begin = 0
    for i, (position, payload) in enumerate(records):
        kind = payload[1]
        if kind in _PASSED:
            continue
        if kind == EntryKind.boot and begin < i:
            yield records[begin:i], position
            begin = i
        elif kind == EntryKind.check:
            after = records[i + 1][0] if i + 1 < len(records) else position_after
            yield records[begin : i + 1], after
            begin = i + 1
        elif kind != EntryKind.boot:
            raise EntryHead.decode(payload).unknown()
    if begin < len(records):
        yield records[begin:], position_after


def _part(records: Records, position: int) -> Folded:
    first, last = records[0][1], records[-1][1]
    head = EntryHead.decode(last)
    events, features, boots = _columns([payload for _, payload in records])
    return Folded(
        position,
        len(records),
        head.arrival + 1,
        head.arrival_ms,
        events,
        features,
        boots,
        decode_switch(first) if first[1] == EntryKind.boot else None,
        decode_check(last) if head.kind == EntryKind.check else None,
    )


def _columns(payloads: list[bytes]) -> tuple[Events, NDArray[np.float32], NDArray[np.uint64]]:
    decisions = [payload for payload in payloads if payload[:2] == _DECISION]
    if not decisions:
        return empty_events(0), np.empty((0, 0), np.float32), np.empty(0, np.uint64)
    for payload in decisions:
        if len(payload) < EVENT_END or payload[PUBLIC_BYTES] != 0:
            check_plain(payload)
    width = int.from_bytes(decisions[0][COUNT_AT : COUNT_AT + 2], "little")
    dtype = fixed_dtype(width)
    fixed = b"".join([payload[: dtype.itemsize] for payload in decisions])
    if len(fixed) != dtype.itemsize * len(decisions):
        raise JournalError("a decision record is shorter than its features; restore the journal")
    rows = np.frombuffer(fixed, dtype)
    body = rows["body"]
    if (other := np.flatnonzero(body["n_features"] != width)).size:
        arrival = rows["public"]["arrival"][other[0]]
        raise JournalError(
            f"decision record {arrival}: the number of features changes without a boot record"
        )
    return body["event"].copy(), body["features"].copy(), rows["public"]["boot"].copy()
