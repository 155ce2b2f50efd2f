"""The journal as the scorer sees it: recover, remember, commit, look up."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from assay.clock import Clock
from assay.journal.boot_record import BootRecord
from assay.journal.check_record import encode_check
from assay.journal.decision_record import (
    SALT_BYTES,
    DecisionRecord,
    decision_id,
    decode_decision,
    encode_decisions,
    stream_name,
)
from assay.journal.disk_watch import DiskWatch
from assay.journal.entries import EntryHead, EntryKind, first_arrival, leaf_of
from assay.journal.finder import Finder
from assay.journal.folder import Folder
from assay.journal.idempotency import NEW, IdempotencyTable
from assay.journal.known_boots import KnownBoots
from assay.journal.label_record import encode_label, encode_report
from assay.journal.log import OFFSET_BITS, Log, Mirror
from assay.journal.mark import Mark
from assay.journal.patience import Patience
from assay.journal.recovery import RecoveredEvents, recalled_ids, scan_events
from assay.journal.steady_time import SteadyTime
from assay.records import Batch, Check, Events, LabelReport, ResolvedLabel

_INPUTS: Final = (EntryKind.label_report, EntryKind.label, EntryKind.check)

Decided = tuple[int, Batch, Sequence[bytes], NDArray[np.uint64]]
"""Arrival of the boot record in force, n decisions, their canonical transactions and digests."""


class Ledger:
    """One scorer's stream: its log, the ids it remembers, and the versions in force.

    One thread numbers (`stamp`, `enter`, `check`, `switch`), one commits in that order; any
    finds.
    While the journal takes no records, because the disk is full or a standby is away, `commit`
    tries again and again; `unavailable` tells those who would bring more.

    Parameters
    ----------
    directory : Path
        Where the segments lie; made if missing.
    clock : Clock
    segment_bytes, checked_position, mirror
        See `Log`.
    reserve_bytes : int
        With less free disk nothing new is admitted; half of it is kept even from what was.
    ids_max, horizon_ms : int
        See `IdempotencyTable`.
    alarm_percent : int
        How full the disk may be before there is an alarm.

    Attributes
    ----------
    next_arrival : int
        The number that the next input gets.
    last_arrival_ms : int
        Arrival of the newest record; later arrivals are never stamped before it.
    written : bool
        Whether what the last commit was given is in the journal. After a commit that failed:
        whether the next start may find it there.

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
        reserve_bytes: int = 0,
        alarm_percent: int = 100,
        checked_position: int = 0,
        mirror: Callable[[bytes, int], Mirror] | None = None,
    ) -> None:
        self._log = Log.open(
            directory,
            clock,
            segment_bytes=segment_bytes,
            # What was admitted just before the reserve was reached still finds room.
            reserve_bytes=reserve_bytes // 2,
            checked_position=checked_position,
            mirror=mirror,
        )
        self._directory, self._clock = directory, clock
        self._ids_max, self._horizon_ms = ids_max, horizon_ms
        self._ids = IdempotencyTable(ids_max, horizon_ms)
        self._finder = Finder(self._log, Folder(directory))
        self._disk = DiskWatch(self._log.free, reserve_bytes, alarm_percent)
        self._time = SteadyTime(clock)
        self._patiently = Patience(str(directory))
        self.name = stream_name(self._log.stream)
        self.boots = KnownBoots(directory)
        self.boot = 0
        self.next_arrival = 1
        self.last_arrival_ms = 0
        self.written = False

    @property
    def stalled(self) -> str | None:
        """Why `commit` waits, while it does."""
        return self._patiently.stalled

    @property
    def cut_bytes(self) -> int:
        """How much of an unfinished write recovery cut off."""
        return self._log.cut_bytes

    @property
    def position(self) -> int:
        """Where the journal ends."""
        return self._log.position

    @property
    def base(self) -> str | None:
        """Snapshot of the history that the stream began with; None before its first record."""
        for _, payload in self._log.scan():
            if EntryHead.decode(payload).kind == EntryKind.boot:
                return BootRecord.decode(payload).dataset
        return None

    def recover(
        self,
        first_arrival: int,
        fold: Callable[[Events], object],
        on_rows: Callable[[int], None],
        mark: Mark | None = None,
    ) -> int:
        """Read what is there: fold its events, remember its ids and versions.

        Parameters
        ----------
        first_arrival : int
            What an empty stream begins with: one more than the rows of history before it.
        fold : callable
            Takes the events in arrival order.
        on_rows : callable
            Told how many events have been folded so far.
        mark : Mark, optional
            What the fold holds already. Only what comes after it is folded; the ids before it are
            taken from indexes, where there are any.

        Returns
        -------
        int
            Number of decisions recovered, those before the mark included.

        Raises
        ------
        JournalError
            If a segment is damaged or of another format.
        """
        rows, now_ms = 0, self._time.now_ms()
        self.next_arrival = first_arrival
        if mark is None:
            self.boots.take_oldest()
        else:
            self.next_arrival, self.last_arrival_ms = mark.next_arrival, mark.arrival_ms
            rows = mark.rows
            self._recall(mark, now_ms)
        for part in scan_events(self._log.scan(mark.position if mark else 0)):
            for _, payload in part.others:
                self._input(payload)
            events = part.events
            if len(events):
                fold(events)
                # A clock that was set forward and mended must not make younger ids forgotten.
                times_ms = np.minimum(events["arrival_ms"], now_ms)
                self._ids.insert_many(
                    events["transaction"], part.body_digests, part.positions, times_ms
                )
                self._seen(int(events["arrival"][-1]), int(events["arrival_ms"][-1]))
                rows += len(events)
                on_rows(rows)
            self._note(part)
        return rows

    def _recall(self, mark: Mark, now_ms: int) -> None:
        """Remember the ids before a mark that may still be asked for, and their versions."""
        first = mark.position >> OFFSET_BITS
        parts = recalled_ids(
            Folder(self._directory),
            mark.position,
            newest_ms=min(mark.arrival_ms, now_ms),
            horizon_ms=self._horizon_ms,
            ids_max=self._ids_max,
        )
        for part in parts:
            times_ms = np.minimum(part.times_ms, now_ms)
            self._ids.insert_many(part.id_hashes, part.body_digests, part.positions, times_ms)
            self.boots.take(part.boots)
            first = min(first, part.number)
            if part.arrivals is not None and len(part.arrivals):
                self._finder.add(part.arrivals.tolist(), part.positions.tolist())
        self.boots.take_before(first)

    def _input(self, payload: bytes) -> None:
        """Take in a record that is no decision."""
        head = EntryHead.decode(payload)
        if head.kind == EntryKind.boot:
            self.boots[head.arrival] = BootRecord.decode(payload)
        elif head.kind not in _INPUTS:
            raise head.unknown()
        self._seen(head.arrival, head.arrival_ms)

    def start(self, boot: BootRecord) -> None:
        """Write the versions that are in force from here on, durably."""
        self.boot, payloads = self.switch(boot, self._clock.now_ms())
        self._write(payloads)
        self.written = False  # it was no commit

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

    def check(self, piece: int, digest: int, now_ms: int) -> list[bytes]:
        """Give a check its arrival and return its payload; called in the order of commits."""
        arrival = self.next_arrival
        self._seen(arrival, now_ms)
        return [encode_check(Check(arrival, self.last_arrival_ms, piece, digest))]

    def stamp(self, events: Events, now_ms: int) -> None:
        """Give a batch its arrival numbers and time; called in the order of commits."""
        n = len(events)
        start = self.next_arrival
        self._time.compare(now_ms)
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
            If the disk fails, or `give_up` was called while nothing could be written. The ledger
            is of no use after that.
        """
        self.written = False
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
        positions = np.array(self._write(payloads), np.int64)
        for part, begin in zip(parts, begins, strict=True):
            if not isinstance(part, list):
                _, batch, _, digests = part
                self._ids.insert_many(
                    batch.events["transaction"],
                    digests,
                    positions[begin : begin + len(batch)],
                    np.full(len(batch), self._time.now_ms()),
                )
        return leaves

    def _write(self, payloads: list[bytes]) -> list[int]:
        """Return the positions of payloads that are durable."""
        positions = self._patiently(lambda: self._log.append(payloads))
        self.written = True
        self._patiently(self._log.sync)
        first = first_arrival(payloads[0])
        self._finder.add(range(first, first + len(payloads)), positions)
        return positions

    def unavailable(self) -> str | None:
        """Return why nothing new can be journalled now; None if it can."""
        if self.stalled is not None:
            return self.stalled
        return "the disk is full" if self._disk.full() else None

    def give_up(self) -> None:
        """From now on do not wait until the journal takes records again: fail instead."""
        self._patiently.end()

    def disk(self) -> dict[str, Any]:
        """Return how full the disk is: see `DiskWatch.document`."""
        return self._disk.document()

    def find_arrival(self, arrival: int) -> bytes | None:
        """Return the durable record with an arrival number; None if there is none.

        It may take milliseconds: it reads the disk.

        Raises
        ------
        DamageError
            If it cannot be read.
        """
        return self._finder.find(arrival)

    def versions(self, boot: int) -> BootRecord:
        """Return the versions that a decision names; at once, if its id is remembered.

        Raises
        ------
        JournalError
            If their record is not there any more.
        """
        return self.boots[boot]

    def find(
        self, transaction_id: str, id_hash: int, digest: int
    ) -> tuple[DecisionRecord, bytes] | None:
        """Return the record and leaf of a transaction id, or None if it is new.

        The caller compares ``record.body_digest`` with the request's to tell a repeat from a
        conflict.
        """
        found = self._ids.lookup(id_hash, digest, self._time.now_ms())
        if found == NEW:
            return None
        payload = self._log.read(found if found > NEW else ~found)
        record = decode_decision(payload)
        if record.transaction_id != transaction_id:
            return None  # two ids share a 64-bit hash: this one is new
        return record, leaf_of(payload)

    def counts(self) -> dict[str, int]:
        """Return ids that came again too late, ids that were forgotten, and steps of the clock."""
        return {
            "ids_expired": self._ids.expired,
            "ids_dropped": self._ids.dropped,
            "clock_steps": self._time.steps,
        }

    def decision_id(self, arrival: int) -> str:
        """Return the public id of the decision with this arrival number."""
        return decision_id(self.name, arrival)

    def close(self) -> None:
        """Release the writer's lock."""
        self._log.close()

    def _seen(self, arrival: int, arrival_ms: int) -> None:
        self.next_arrival = max(self.next_arrival, arrival + 1)
        self.last_arrival_ms = max(self.last_arrival_ms, arrival_ms)

    def _note(self, part: RecoveredEvents) -> None:
        """Note where the records of a part stand."""
        for arrivals, positions in part.by_segment():
            self._finder.add(arrivals, positions)


def _encode(label: LabelReport | ResolvedLabel, salt: bytes) -> bytes:
    if isinstance(label, LabelReport):
        return encode_report(label, salt)
    return encode_label(label, salt)
