"""Builds the index of a segment from its records, as they come."""

from __future__ import annotations

from itertools import compress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assay.journal.decision_record import DIGEST_AT, EVENT_END, PUBLIC_BYTES
from assay.journal.entries import ENTRY_HEAD_BYTES, EntryKind
from assay.journal.frames import PAYLOAD_VERSION
from assay.journal.index import INDEXED, Boots, SegmentIndex
from assay.journal.segments import OFFSET_BITS
from assay.records import EVENT

_CHUNK_RECORDS: Final = 8192
_HEAD: Final = np.dtype([("skip", "<u8"), ("arrival", "<u8"), ("arrival_ms", "<i8")])
_KEYS: Final = np.dtype([("digest", "<u8"), ("event", EVENT)])
_DECISION: Final = bytes((PAYLOAD_VERSION, EntryKind.decision))
_BOOT: Final = bytes((PAYLOAD_VERSION, EntryKind.boot))


class IndexBuilder:
    """Collects what an index says about the records of one segment.

    Parameters
    ----------
    number : int
        Of the segment.
    boots : list of (int, bytes)
        The boot record in force at its beginning; empty if there is none.
    """

    def __init__(self, number: int, boots: Boots) -> None:
        self._number = number
        self._boots = list(boots)
        self._pending: list[tuple[int, bytes]] = []
        self._chunks: list[NDArray[np.void]] = [np.empty(0, INDEXED)]

    def add(self, records: list[tuple[int, bytes]]) -> None:
        """Take the next records: offsets in the segment, and payloads."""
        self._pending += records
        if len(self._pending) >= _CHUNK_RECORDS:
            self._flush()

    def index(self) -> SegmentIndex:
        """Return the index of all records so far."""
        self._flush()
        entries = np.concatenate(self._chunks)
        self._chunks = [entries]
        if (entries["arrival"][1:] < entries["arrival"][:-1]).any():
            entries = entries[np.argsort(entries["arrival"], kind="stable")]
        return SegmentIndex(self._number, entries, list(self._boots))

    def _flush(self) -> None:
        records, self._pending = self._pending, []
        if not records:
            return
        base = self._number << OFFSET_BITS
        payloads = [payload for _, payload in records]
        heads = np.frombuffer(
            b"".join([p[:ENTRY_HEAD_BYTES].ljust(ENTRY_HEAD_BYTES, b"\0") for p in payloads]), _HEAD
        )
        out = np.zeros(len(records), INDEXED)
        out["arrival"], out["arrival_ms"] = heads["arrival"], heads["arrival_ms"]
        out["position"] = [base | offset for offset, _ in records]
        plain = np.array([_is_plain(p) for p in payloads])
        keys = np.frombuffer(
            b"".join([p[DIGEST_AT:EVENT_END] for p in compress(payloads, plain)]), _KEYS
        )
        out["transaction"][plain] = keys["event"]["transaction"]
        out["digest"][plain] = keys["digest"]
        self._boots += [
            (int(out["arrival"][i]), p) for i, p in enumerate(payloads) if p[:2] == _BOOT
        ]
        self._chunks.append(out)


def _is_plain(payload: bytes) -> bool:
    return payload[:2] == _DECISION and len(payload) >= EVENT_END and not payload[PUBLIC_BYTES]
