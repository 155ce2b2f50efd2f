"""The journal as the scorer sees it: recover, remember, commit, look up."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assay.clock import Clock
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import (
    SALT_BYTES,
    DecisionRecord,
    decision_id,
    decode_decision,
    encode_decisions,
    stream_name,
)
from assay.journal.entries import EntryHead, EntryKind, leaf_of
from assay.journal.idempotency import NEW, IdempotencyTable
from assay.journal.label_record import encode_label, encode_report
from assay.journal.log import Log
from assay.journal.recovery import scan_events
from assay.records import Batch, Events, LabelReport, ResolvedLabel

_LABELS: Final = (EntryKind.label_report, EntryKind.label)

Decided = tuple[int, Batch, Sequence[bytes], NDArray[np.uint64]]
"""Arrival of the boot record in force, n decisions, their canonical transactions and digests."""


class Ledger:
    """One scorer's stream: its log, the ids it remembers, and the versions in force.

    One thread numbers (`stamp`, `enter`, `switch`), one commits in that order; any finds.

    Parameters
    ----------
    directory : Path
        Where the segments lie; made if missing.
    clock : Clock
    segment_bytes, ids_max, horizon_ms : int
        See `Log` and `IdempotencyTable`.

    Attributes
    ----------
    next_arrival : int
        The number that the next input gets.
    last_arrival_ms : int
        Arrival of the newest record; later arrivals are never stamped before it.

    Raises
    ------
    JournalError
        If another writer lives or the last segment is damaged.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        segment_bytes: int,
        ids_max: int,
        horizon_ms: int,
    ) -> None:
        self._log = Log.open(directory, clock, segment_bytes=segment_bytes)
        self._clock = clock
        self._ids = IdempotencyTable(ids_max, horizon_ms)
        self._name = stream_name(self._log.stream)
        self.boots: dict[int, BootRecord] = {}
        self.boot = 0
        self.next_arrival = 1
        self.last_arrival_ms = 0

    @property
    def cut_bytes(self) -> int:
        """How much of an unfinished write recovery cut off."""
        return self._log.cut_bytes

    @property
    def base(self) -> str | None:
        """Snapshot of the history that the stream began with; None before its first record."""
        for _, payload in self._log.scan():
            return BootRecord.decode(payload).dataset
        return None

    def recover(
        self, first_arrival: int, fold: Callable[[Events], object], on_rows: Callable[[int], None]
    ) -> int:
        """Read all that is there: fold its events, remember its ids and versions.

        Parameters
        ----------
        first_arrival : int
            What an empty stream begins with: one more than the rows of history before it.
        fold : callable
            Takes the events in arrival order.
        on_rows : callable
            Told how many events have been folded so far.

        Returns
        -------
        int
            Number of decisions recovered.

        Raises
        ------
        JournalError
            If a segment is damaged or of another format.
        """
        self.next_arrival = first_arrival
        rows = 0
        for part in scan_events(self._log.scan()):
            for _, payload in part.others:
                head = EntryHead.decode(payload)
                if head.kind == EntryKind.boot:
                    self.boots[head.arrival] = BootRecord.decode(payload)
                elif head.kind not in _LABELS:
                    raise head.unknown()
                self._seen(head.arrival, head.arrival_ms)
            events = part.events
            if len(events):
                fold(events)
                self._remember(events, part.body_digests, part.positions)
                self._seen(int(events["arrival"][-1]), int(events["arrival_ms"][-1]))
                rows += len(events)
                on_rows(rows)
        return rows

    def start(self, boot: BootRecord) -> None:
        """Write the versions that are in force from here on, durably."""
        self.boot, payloads = self.switch(boot, self._clock.now_ms())
        self._log.append(payloads)
        self._log.sync()

    def switch(self, boot: BootRecord, now_ms: int) -> tuple[int, list[bytes]]:
        """Return arrival and payload of a boot record, to be committed ahead of its decisions."""
        arrival = self.next_arrival
        self._seen(arrival, now_ms)
        self.boots[arrival] = boot
        return arrival, [boot.encode(arrival, self.last_arrival_ms)]

    def enter(self, labels: Sequence[LabelReport | ResolvedLabel], now_ms: int) -> list[bytes]:
        """Give labels their arrival and return their payloads; called in the order of commits."""
        first = self.next_arrival
        self._seen(first + len(labels) - 1, now_ms)
        salts = os.urandom(SALT_BYTES * len(labels))
        return [
            _encode(
                replace(label, arrival=first + i, arrival_ms=self.last_arrival_ms),
                salts[i * SALT_BYTES : (i + 1) * SALT_BYTES],
            )
            for i, label in enumerate(labels)
        ]

    def stamp(self, events: Events, now_ms: int) -> None:
        """Give a batch its arrival numbers and time; called in the order of commits."""
        n = len(events)
        start = self.next_arrival
        self._seen(start + n - 1, now_ms)
        events["arrival"] = np.arange(start, start + n, dtype=np.uint64)
        events["arrival_ms"] = self.last_arrival_ms

    def commit(self, parts: Sequence[Decided | list[bytes]]) -> list[list[bytes]]:
        """Write decided batches and other payloads, in order, with one sync.

        When this returns, they survive the end of the process and of the machine's power; only
        then may they be answered.

        Returns
        -------
        list of list of bytes
            The leaf of each decision of each part; none for other payloads.

        Raises
        ------
        JournalError
            If the disk fails. The ledger is of no use after that.
        """
        payloads: list[bytes] = []
        leaves: list[list[bytes]] = []
        begins: list[int] = []
        for part in parts:
            begins.append(len(payloads))
            if isinstance(part, list):
                payloads += part
                leaves.append([])
                continue
            boot, batch, canonicals, digests = part
            salts = os.urandom(SALT_BYTES * len(batch))
            encoded, hashes = encode_decisions(batch, canonicals, digests, boot=boot, salts=salts)
            payloads += encoded
            leaves.append(hashes)
        if not payloads:  # labels that were there already
            return leaves
        positions = np.array(self._log.append(payloads), np.int64)
        self._log.sync()
        for part, begin in zip(parts, begins, strict=True):
            if not isinstance(part, list):
                _, batch, _, digests = part
                self._remember(batch.events, digests, positions[begin : begin + len(batch)])
        return leaves

    def find(
        self, transaction_id: str, id_hash: int, digest: int, now_ms: int
    ) -> tuple[DecisionRecord, bytes] | None:
        """Return the record and leaf of a transaction id, or None if it is new.

        The caller compares ``record.body_digest`` with the request's to tell a repeat from a
        conflict.
        """
        found = self._ids.lookup(id_hash, digest, now_ms)
        if found == NEW:
            return None
        payload = self._log.read(found if found > NEW else ~found)
        record = decode_decision(payload)
        if record.transaction_id != transaction_id:
            return None  # two ids share a 64-bit hash: this one is new
        return record, leaf_of(payload)

    def counts(self) -> dict[str, int]:
        """Return how many ids came again too late to be known, and how many were forgotten."""
        return {"ids_expired": self._ids.expired, "ids_dropped": self._ids.dropped}

    def decision_id(self, arrival: int) -> str:
        """Return the public id of the decision with this arrival number."""
        return decision_id(self._name, arrival)

    def close(self) -> None:
        """Release the writer's lock."""
        self._log.close()

    def _seen(self, arrival: int, arrival_ms: int) -> None:
        self.next_arrival = max(self.next_arrival, arrival + 1)
        self.last_arrival_ms = max(self.last_arrival_ms, arrival_ms)

    def _remember(
        self, events: Events, digests: NDArray[np.uint64], positions: NDArray[np.int64]
    ) -> None:
        self._ids.insert_many(events["transaction"], digests, positions, events["arrival_ms"])


def _encode(label: LabelReport | ResolvedLabel, salt: bytes) -> bytes:
    if isinstance(label, LabelReport):
        return encode_report(label, salt)
    return encode_label(label, salt)
