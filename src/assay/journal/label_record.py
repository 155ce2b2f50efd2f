"""Labels in the journal: a report as it came in, and the label that became of it.

::

    report   entry head 24 | reported i64 | fraud u8 | 7 zero | commitment 32        = 72 bytes
    private  format u8 | 3 zero |
             salt 16 | bytes of the id u16 | bytes of the source u16 | id | source

    label    entry head 24 | report u64 | reported i64 | fraud u8 | 7 zero | commitment 32 = 80
    private  format u8 | 3 zero |
             salt 16 | event 128

The commitment is SHA-256 over the byte 2 and everything after the private part's first four
bytes, as in a decision. Format 0 is plain; another number will say how those bytes are encrypted.
"""

from __future__ import annotations

import hashlib
from struct import Struct
from typing import Final

import numpy as np

from assay.errors import JournalError
from assay.journal.entries import ENTRY_HEAD_BYTES, EntryHead, EntryKind
from assay.journal.frames import PAYLOAD_VERSION
from assay.records import EVENT, LabelReport, ResolvedLabel

SALT_BYTES: Final = 16

_REPORT: Final = Struct("<qB7x")
_LABEL: Final = Struct("<QqB7x")
_SIZES: Final = Struct("<HH")
_TEXTS_AT: Final = SALT_BYTES + _SIZES.size
_COMMITMENT_BYTES: Final = 32
_ENVELOPE: Final = b"\x00\x00\x00\x00"
_LABEL_BODY_BYTES: Final = SALT_BYTES + EVENT.itemsize


def encode_report(report: LabelReport, salt: bytes) -> bytes:
    """Return the payload of a report that has its arrival; `salt` is 16 fresh random bytes."""
    assert len(salt) == SALT_BYTES, len(salt)
    name, source = report.transaction_id.encode(), report.source.encode()
    body = salt + _SIZES.pack(len(name), len(source)) + name + source
    facts = _REPORT.pack(report.reported_ms, report.fraud)
    return _payload(EntryKind.label_report, report.arrival, report.arrival_ms, facts, body)


def encode_label(label: ResolvedLabel, salt: bytes) -> bytes:
    """Return the payload of a label that has its arrival; `salt` is 16 fresh random bytes."""
    assert len(salt) == SALT_BYTES, len(salt)
    facts = _LABEL.pack(label.report, label.reported_ms, label.fraud)
    body = salt + label.event.tobytes()
    assert len(body) == _LABEL_BODY_BYTES, len(body)
    return _payload(EntryKind.label, label.arrival, label.arrival_ms, facts, body)


def decode_report(payload: bytes) -> LabelReport:
    """Read a payload of kind `EntryKind.label_report`.

    Raises
    ------
    JournalError
        If it is none, encrypted, or its sizes contradict each other.
    """
    head, facts, body = _take_apart(payload, EntryKind.label_report, _REPORT)
    reported_ms, fraud = facts
    texts = body[_TEXTS_AT:]
    sizes = _SIZES.unpack_from(body, SALT_BYTES) if len(body) >= _TEXTS_AT else (0, 0)
    if len(body) < _TEXTS_AT or len(texts) != sum(sizes):
        raise JournalError(f"label report {head.arrival}: its sizes contradict each other")
    try:
        name, source = texts[: sizes[0]].decode(), texts[sizes[0] :].decode()
    except UnicodeDecodeError:
        raise JournalError(f"label report {head.arrival}: its text is not UTF-8") from None
    return LabelReport(head.arrival, head.arrival_ms, name, bool(fraud), reported_ms, source)


def decode_label(payload: bytes) -> ResolvedLabel:
    """Read a payload of kind `EntryKind.label`.

    Raises
    ------
    JournalError
        If it is none, encrypted, or of another size.
    """
    head, facts, body = _take_apart(payload, EntryKind.label, _LABEL)
    report, reported_ms, fraud = facts
    if len(body) != _LABEL_BODY_BYTES:
        raise JournalError(f"label {head.arrival}: its sizes contradict each other")
    event = np.frombuffer(body, EVENT, 1, SALT_BYTES)
    return ResolvedLabel(head.arrival, head.arrival_ms, report, bool(fraud), reported_ms, event)


def _payload(kind: EntryKind, arrival: int, arrival_ms: int, facts: bytes, body: bytes) -> bytes:
    size = ENTRY_HEAD_BYTES + len(facts) + _COMMITMENT_BYTES
    head = EntryHead(PAYLOAD_VERSION, kind, 0, size, arrival, arrival_ms).encode()
    return head + facts + hashlib.sha256(b"\x02" + body).digest() + _ENVELOPE + body


def _take_apart(
    payload: bytes, kind: EntryKind, facts: Struct
) -> tuple[EntryHead, tuple[int, ...], bytes]:
    """Return the head, the public facts and the private part after its envelope."""
    head = EntryHead.decode(payload)
    if head.kind != kind:
        raise JournalError(f"a record has kind {head.kind}; accepted: {kind:d}")
    envelope = ENTRY_HEAD_BYTES + facts.size + _COMMITMENT_BYTES
    body = envelope + len(_ENVELOPE)
    if head.public_bytes != envelope or len(payload) < body:
        raise JournalError(f"record {head.arrival} is too short: {len(payload)} bytes")
    if payload[envelope] != 0:
        raise JournalError(
            f"record {head.arrival}: its private part has format {payload[envelope]}; accepted: 0"
        )
    return head, facts.unpack_from(payload, ENTRY_HEAD_BYTES), payload[body:]
