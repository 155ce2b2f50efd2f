"""Reads a journal entry by entry: from any position, filtered, to its end or along with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from assay.errors import InputError
from assay.journal.boot_record import BootRecord
from assay.journal.check_record import decode_check
from assay.journal.decision_record import DIGEST_AT, EVENT_END, DecisionRecord, decode_decision
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.folder import Folder
from assay.journal.follower import Follower, OnGap
from assay.journal.index_files import load_index
from assay.journal.label_record import decode_label, decode_report
from assay.journal.segment import SEGMENT_HEAD_BYTES
from assay.journal.segments import OFFSET_BITS
from assay.records import EVENT, Check, LabelReport, ResolvedLabel

KEYS: Final = ("transaction", "related", "card", "customer", "merchant", "device", "ip")
"""Fields of an event that hold the 64-bit hash of a key."""

_POLL_S: Final = 0.05
_RECORDS_MAX: Final = 1024
_EVENT_AT: Final = DIGEST_AT + 8

_DECODERS: Final[dict[int, Callable[[bytes], object]]] = {
    EntryKind.boot: BootRecord.decode,
    EntryKind.decision: decode_decision,
    EntryKind.label_report: decode_report,
    EntryKind.label: decode_label,
    EntryKind.check: decode_check,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the journal.

    Attributes
    ----------
    position : int
        Where it stands.
    position_after : int
        Where to go on after it.
    kind : EntryKind
    arrival, arrival_ms : int
        Number in the stream, and UTC milliseconds.
    record : BootRecord, DecisionRecord, LabelReport, ResolvedLabel or Check
        As `kind` says.
    """

    position: int
    position_after: int
    kind: EntryKind
    arrival: int
    arrival_ms: int
    record: BootRecord | DecisionRecord | LabelReport | ResolvedLabel | Check


def read_entries(
    directory: Path,
    position: int = 0,
    *,
    follow: bool = False,
    since_ms: int | None = None,
    until_ms: int | None = None,
    kinds: Collection[EntryKind] | None = None,
    key: tuple[str, int] | None = None,
    on_gap: OnGap | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[Entry]:
    """Yield the entries of a journal, each once and in order.

    Parameters
    ----------
    directory : Path
        The journal's folder.
    position : int
        Where to begin: 0, or an entry's `position_after`.
    follow : bool
        Wait for more at the end instead of stopping; looks every 50 ms.
    since_ms, until_ms : int, optional
        Only what arrived from the one on and before the other, UTC milliseconds.
        Sealed segments that are older are skipped by their index.
    kinds : collection of EntryKind, optional
        Only these.
    key : (str, int), optional
        Only decisions and labels whose event has this 64-bit hash in this field of `KEYS`.
    on_gap : callable, optional
        Told of each part that is damaged or was removed, when reading goes on behind it.
    stop : callable, optional
        Asked before each look at the journal; True ends the reading.

    Raises
    ------
    DamageError
        At the first damage, without `on_gap`.
    JournalError
        If the position is none of this journal, or was removed and there is no `on_gap`; or if a
        record is of a kind or version that this build does not read.
    InputError
        If the key's field is not one of `KEYS`.
    """
    if key is not None and key[0] not in KEYS:
        raise InputError("key", repr(key[0]), ", ".join(KEYS))
    follower = Follower(directory, position, on_gap=on_gap)
    if since_ms is not None:
        follower = _skip(directory, follower, since_ms, on_gap)
    while stop is None or not stop():
        records = follower.read(_RECORDS_MAX)
        if not records and not follow:
            return
        if not records:
            time.sleep(_POLL_S)
        ends = [at for at, _ in records[1:]] + [follower.position]
        for (at, payload), after in zip(records, ends, strict=False):
            head = EntryHead.decode(payload)
            if until_ms is not None and head.arrival_ms >= until_ms:
                return
            late = since_ms is None or head.arrival_ms >= since_ms
            if late and (kinds is None or head.kind in kinds) and _has(payload, head.kind, key):
                yield _entry(at, after, head, payload)


def _skip(directory: Path, follower: Follower, since_ms: int, on_gap: OnGap | None) -> Follower:
    """Return a follower behind the sealed segments all of whose records are older."""
    folder = Folder(directory)
    numbers = folder.numbers()
    number = follower.position >> OFFSET_BITS or (numbers[0] if numbers else 0)
    first = number
    while number in numbers and _is_older(folder, number, since_ms):
        number += 1
    if number == first:
        return follower
    return Follower(directory, number << OFFSET_BITS | SEGMENT_HEAD_BYTES, on_gap=on_gap)


def _is_older(folder: Folder, number: int, since_ms: int) -> bool:
    try:
        sealed = not folder.segment(number).exists()
        return sealed and load_index(folder, number).last_arrival_ms < since_ms
    except FileNotFoundError:  # retention removed it just now
        return False


def _has(payload: bytes, kind: int, key: tuple[str, int] | None) -> bool:
    if key is None:
        return True
    if kind == EntryKind.decision and len(payload) >= EVENT_END:
        at = _EVENT_AT + _offset(key[0])
        return int.from_bytes(payload[at : at + 8], "little") == key[1]
    return kind == EntryKind.label and int(decode_label(payload).event[key[0]][0]) == key[1]


def _offset(name: str) -> int:
    fields = EVENT.fields
    assert fields is not None
    return fields[name][1]


def _entry(at: int, after: int, head: EntryHead, payload: bytes) -> Entry:
    decode = _DECODERS.get(head.kind)
    if decode is None:
        raise head.unknown()
    record = decode(payload)
    assert isinstance(record, BootRecord | DecisionRecord | LabelReport | ResolvedLabel | Check)
    return Entry(at, after, EntryKind(head.kind), head.arrival, head.arrival_ms, record)
