"""Entries: what every payload begins with, whatever it holds.

A payload has a public part, hashed into the leaf, and, where it tells of a person, a private
part, of which the public part holds only a commitment.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple, Self

from assay.errors import JournalError
from assay.journal.frames import PAYLOAD_VERSION


class EntryKind(IntEnum):
    """What a payload holds. 0 is the head of a group; 6 to 15 are kept for other inputs."""

    boot = 1
    decision = 2
    label_report = 3
    label = 4
    check = 5


class EntryHead(NamedTuple):
    """The first 24 bytes of every payload.

    Attributes
    ----------
    version, kind, flags : int
        Layout, `EntryKind`, and 16 bits that are 0 so far.
    public_bytes : int
        Size of the public part, this head included.
    arrival : int
        Number in the scorer's stream.
    arrival_ms : int
        UTC milliseconds.
    """

    version: int
    kind: int
    flags: int
    public_bytes: int
    arrival: int
    arrival_ms: int

    def encode(self) -> bytes:
        """Return the bytes that a payload begins with."""
        return _HEAD.pack(*self)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read the head of a payload.

        Raises
        ------
        JournalError
            If the payload is too short or of another version.
        """
        if payload[0] != PAYLOAD_VERSION:
            raise JournalError(f"a record has version {payload[0]}; accepted: {PAYLOAD_VERSION}")
        if len(payload) < ENTRY_HEAD_BYTES:
            raise JournalError(
                f"a record has {len(payload)} bytes; accepted: {ENTRY_HEAD_BYTES} or more"
            )
        head = cls(*_HEAD.unpack_from(payload))
        if not ENTRY_HEAD_BYTES <= head.public_bytes <= len(payload):
            raise JournalError(
                f"a record of {len(payload)} bytes has a public part of {head.public_bytes}"
            )
        return head

    def unknown(self) -> JournalError:
        """Return the error for a kind that this version does not know."""
        return JournalError(
            f"record {self.arrival} has kind {self.kind}, which this version does not know; "
            "accepted: the version that wrote it, or a newer one"
        )


_HEAD: Final = Struct("<BBHIQq")

ENTRY_HEAD_BYTES: Final = _HEAD.size

_ARRIVAL: Final = Struct("<8xQ")


def first_arrival(payload: bytes) -> int:
    """Return a payload's arrival number without checking the rest; 0 if it has none."""
    return int(_ARRIVAL.unpack_from(payload)[0]) if len(payload) >= ENTRY_HEAD_BYTES else 0


def leaf_of(payload: bytes) -> bytes:
    """Return the hash that stands for a record: SHA-256 over a zero byte and the public part.

    It stays the same when the private part is encrypted or erased.
    """
    return hashlib.sha256(b"\x00" + payload[: EntryHead.decode(payload).public_bytes]).digest()
