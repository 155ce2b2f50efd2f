"""A check in the journal: what a piece of the scorer's feature state was like at a place.

::

    entry head 24 | piece u64 | digest u64        = 40 bytes, all of it public

Nothing in it tells of a person: a digest over up to a megabyte of counters cannot be turned back.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from assay.errors import JournalError
from assay.journal.entries import ENTRY_HEAD_BYTES, EntryHead, EntryKind
from assay.journal.frames import PAYLOAD_VERSION
from assay.records import Check

_FACTS: Final = Struct("<QQ")

CHECK_BYTES: Final = ENTRY_HEAD_BYTES + _FACTS.size


def encode_check(check: Check) -> bytes:
    """Return the payload of a check that has its arrival."""
    kind = EntryKind.check
    head = EntryHead(PAYLOAD_VERSION, kind, 0, CHECK_BYTES, check.arrival, check.arrival_ms)
    return head.encode() + _FACTS.pack(check.piece, check.digest)


def decode_check(payload: bytes) -> Check:
    """Read a payload of kind `EntryKind.check`.

    Raises
    ------
    JournalError
        If it is none, or of another size.
    """
    head = EntryHead.decode(payload)
    if head.kind != EntryKind.check:
        raise JournalError(f"a record has kind {head.kind}; accepted: {EntryKind.check:d}")
    if not head.public_bytes == len(payload) == CHECK_BYTES:
        raise JournalError(
            f"check {head.arrival} has {len(payload)} bytes; accepted: {CHECK_BYTES}"
        )
    return Check(head.arrival, head.arrival_ms, *_FACTS.unpack_from(payload, ENTRY_HEAD_BYTES))
