"""The boot record: which versions are in force for the decisions that name it."""

from __future__ import annotations

from typing import Self

import msgspec
from msgspec import Struct

from assay.errors import JournalError
from assay.journal.entries import ENTRY_HEAD_BYTES, EntryHead, EntryKind
from assay.journal.frames import PAYLOAD_VERSION
from assay.records import Switch


class BootRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Versions in force from an arrival on: written at start and whenever one changes.

    Attributes
    ----------
    model, policy, feature_set, runtime, fx, time_zones, dataset : str
        Versions or digests; `dataset` is the snapshot the state began with.
    arms : tuple of str
        Names of the arms, by number.
    reasons : tuple of (str, str)
        Code and sentence of each reason, by number; 0 is none.
    revision : int
        Of the request that put the model in force; 0 without one.
    cause : str
        ``start``, ``promote`` or ``rollback``.
    """

    model: str
    policy: str
    feature_set: str
    runtime: str
    fx: str
    time_zones: str
    dataset: str
    arms: tuple[str, ...] = ()
    reasons: tuple[tuple[str, str], ...] = ()
    revision: int = 0
    cause: str = "start"

    def encode(self, arrival: int, arrival_ms: int) -> bytes:
        """Return the payload."""
        body = msgspec.json.encode(self)
        size = ENTRY_HEAD_BYTES + len(body)
        head = EntryHead(PAYLOAD_VERSION, EntryKind.boot, 0, size, arrival, arrival_ms)
        return head.encode() + body

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload of kind `EntryKind.boot`.

        Raises
        ------
        JournalError
            If it is none.
        """
        head = EntryHead.decode(payload)
        if head.kind != EntryKind.boot:
            raise JournalError(f"a record has kind {head.kind}; accepted: {EntryKind.boot:d}")
        try:
            return msgspec.json.decode(payload[ENTRY_HEAD_BYTES:], type=cls)
        except msgspec.DecodeError as error:
            raise JournalError(f"boot record {head.arrival} is not readable: {error}") from None


def decode_switch(payload: bytes) -> Switch:
    """Read a boot record as those see it who follow the journal.

    Raises
    ------
    JournalError
        If it is none.
    """
    head, boot = EntryHead.decode(payload), BootRecord.decode(payload)
    return Switch(
        head.arrival,
        head.arrival_ms,
        boot.cause,
        boot.revision,
        boot.model,
        boot.policy,
        boot.feature_set,
        boot.runtime,
        boot.reasons,
    )
