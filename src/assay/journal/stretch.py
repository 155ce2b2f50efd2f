"""Decodes a part of the journal into columns, for those who follow it."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from assay.errors import JournalError
from assay.journal.boot_record import decode_switch
from assay.journal.check_record import decode_check
from assay.journal.decision_record import (
    COUNT_AT,
    EVENT_END,
    PUBLIC_BYTES,
    WithId,
    check_plain,
    fixed_dtype,
)
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.frames import PAYLOAD_VERSION
from assay.journal.label_record import decode_label, decode_report
from assay.records import Batch, Check, LabelReport, ResolvedLabel, Stretch, Switch, empty_events

_DECISION: Final = bytes((PAYLOAD_VERSION, EntryKind.decision))
_START: Final = "start"
_ids: Final = msgspec.json.Decoder(list[WithId])

_Input = Switch | LabelReport | ResolvedLabel | Check


def decode_stretches(records: list[tuple[int, bytes]], position_after: int) -> list[Stretch]:
    """Decode records, in the order of the journal, into stretches.

    A stretch ends where the number of features changes, and at a start of the scorer, which may
    bring another feature set.

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
    stretches: list[Stretch] = []
    run: list[tuple[int, bytes]] = []
    inputs: list[_Input] = []  # of the run
    after: list[tuple[int, _Input]] = []  # since the run's last decision
    count, started = b"", False
    for record in records:
        payload = record[1]
        if payload[:2] != _DECISION:
            found = _decode_input(payload)
            started = started or (isinstance(found, Switch) and found.cause == _START)
            after.append((record[0], found))
            continue
        if run and (started or payload[COUNT_AT : COUNT_AT + 2] != count):
            stretches.append(_stretch(run, inputs, after[0][0] if after else record[0]))
            run, inputs = [], []
        if after:
            inputs += [found for _, found in after]
            after, started = [], False
        count = payload[COUNT_AT : COUNT_AT + 2]
        run.append(record)
    if run or after:
        inputs += [found for _, found in after]
        stretches.append(_stretch(run, inputs, position_after))
    return stretches


def _decode_input(payload: bytes) -> _Input:
    head = EntryHead.decode(payload)
    if head.kind == EntryKind.label_report:
        return decode_report(payload)
    if head.kind == EntryKind.label:
        return decode_label(payload)
    if head.kind == EntryKind.check:
        return decode_check(payload)
    if head.kind == EntryKind.boot:
        return decode_switch(payload)
    raise head.unknown()


def _stretch(run: list[tuple[int, bytes]], inputs: list[_Input], position: int) -> Stretch:
    switches = [found for found in inputs if isinstance(found, Switch)]
    reports = [found for found in inputs if isinstance(found, LabelReport)]
    labels = [found for found in inputs if isinstance(found, ResolvedLabel)]
    checks = [found for found in inputs if isinstance(found, Check)]
    if not run:
        none = Batch(empty_events(0), np.empty((0, 0), np.float32))
        boots, positions = np.empty(0, np.uint64), np.empty(0, np.int64)
        return Stretch(position, none, boots, positions, [], [], switches, reports, labels, checks)
    batch, boots, canonicals = _columns([payload for _, payload in run])
    return Stretch(
        position,
        batch,
        boots,
        np.array([at for at, _ in run], np.int64),
        _transaction_ids(canonicals),
        canonicals,
        switches,
        reports,
        labels,
        checks,
    )


def _columns(payloads: list[bytes]) -> tuple[Batch, NDArray[np.uint64], list[bytes]]:
    """Return the batch, the boots and the canonical transactions of equally wide decisions."""
    for payload in payloads:
        if len(payload) < EVENT_END or payload[PUBLIC_BYTES] != 0:
            check_plain(payload)
    dtype = fixed_dtype(int.from_bytes(payloads[0][COUNT_AT : COUNT_AT + 2], "little"))
    size = dtype.itemsize
    canonicals = [payload[size:] for payload in payloads]
    fixed = b"".join([payload[:size] for payload in payloads])
    if len(fixed) != size * len(payloads):
        raise JournalError("a decision record is shorter than its features; restore the journal")
    rows = np.frombuffer(fixed, dtype)
    public, body = rows["public"], rows["body"]
    sizes = np.fromiter(map(len, canonicals), np.uint32, len(canonicals))
    wrong = np.flatnonzero(body["canonical_bytes"] != sizes)
    if len(wrong):
        arrival = public["arrival"][wrong[0]]
        raise JournalError(f"decision record {arrival}: its sizes contradict each other")
    batch = Batch(
        body["event"].copy(),
        body["features"].copy(),
        public["score"].copy(),
        public["action"].copy(),
        public["reasons"].copy(),
        public["mode"].copy(),
    )
    return batch, public["boot"].copy(), canonicals


def _transaction_ids(canonicals: list[bytes]) -> list[str]:
    try:
        found = _ids.decode(b"[" + b",".join(canonicals) + b"]")
    except msgspec.DecodeError as error:
        raise JournalError(f"a decision's transaction is not readable: {error}") from None
    assert len(found) == len(canonicals), (len(found), len(canonicals))
    return [row.transaction_id for row in found]
