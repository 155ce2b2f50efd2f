"""Measures the journal with the real parts: commit, sealing, following, snapshots."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from assay.bootstrap.audit_range import Reading
from assay.bootstrap.door import Door, make_encoder
from assay.bootstrap.features import make_fold
from assay.bootstrap.progress import Progress
from assay.bootstrap.score_replay import batch_part
from assay.bootstrap.scorer import RunningScorer, build_scorer, read_history
from assay.bootstrap.versions import feature_set
from assay.clock import SystemClock
from assay.datasets.table import TransactionTable
from assay.errors import JournalError
from assay.features.snapshots import Mark, Snapshots
from assay.journal.boot_record import BootRecord
from assay.journal.entries import EntryHead
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.ledger import Decided, Ledger
from assay.journal.sealer import seal, sealable
from assay.journal.stretch import decode_stretches
from assay.records import DAY_MS, EVENT, Batch, Channel, EntryMode, Kind, empty_events, pack2
from assay.workspace import Workspace

GROUP_ROWS: Final = 64
"""Records of one commit, as the engine makes them under load."""

_ROWS_OF_CARD: Final = 2
_MERCHANTS: Final = 20_000
_IDLE_S: Final = 0.05
"""How long the worker waits when there is nothing to read."""

_SOURCE_ROWS: Final = 16_384
_PRIVATE_HEAD_BYTES: Final = 32
"""Salt, sizes and digest of a private part."""

_PUBLIC: Final = bytes(56)
"""What would be authenticated with it: the public part but for the commitment."""

_BOOT: Final = BootRecord(
    model="bench", policy="bench", feature_set="", runtime="", fx="", time_zones="", dataset=""
)
_PATIENCE_S: Final = 30.0


def add_cards(workspace: Workspace, cards: int, end_ms: int) -> None:
    """Import two payments of each of so many cards, each with a customer and a device."""
    rng = np.random.default_rng(1)
    rows = cards * _ROWS_OF_CARD
    events = empty_events(rows)
    events["event_time"] = np.sort(end_ms - rng.integers(1, 60 * DAY_MS, rows))
    events["transaction"] = _keys(rng, rows)
    owners = rng.permutation(rows) % cards
    for name in ("card", "customer", "device"):
        events[name] = _keys(rng, cards)[owners]
    events["merchant"] = _keys(rng, _MERCHANTS)[rng.integers(0, _MERCHANTS, rows)]
    events["amount_ref"] = events["amount_minor"] = rng.integers(100, 50_000, rows)
    events["currency"], events["category"], events["country"] = 978, 5411, pack2("DE")
    events["kind"] = Kind.authorisation
    events["channel"], events["entry_mode"] = Channel.pos, EntryMode.chip
    unknown = np.full(rows, -1)
    TransactionTable(workspace.tables).append(
        events,
        pl.Series("transaction_id", [f"filler-{row:08d}" for row in range(rows)]),
        _keys(rng, rows),
        unknown.astype(np.int8),
        unknown,
        provenance={"source": "bench", "fields": []},
    )


def _keys(rng: np.random.Generator, count: int) -> NDArray[np.uint64]:
    return rng.integers(1, (1 << 64) - 1, count, np.uint64)


def take_snapshot(workspace: Workspace, progress: Progress) -> dict[str, Any]:
    """Fold the history and the journal, write the state down, and return what it holds."""
    clock, journal = SystemClock(), workspace.journal
    ((records, position),) = Reading(journal).chunks()
    boot = BootRecord.decode(records[0][1])
    history = read_history(workspace, boot.dataset)
    fold = make_fold(workspace, feature_set(workspace, boot.feature_set))
    fold.absorb(history.events, partial(progress, "fold the cards"))
    last = EntryHead.decode(records[-1][1])
    mark = Mark(
        stream=Follower(journal).stream,
        position=position,
        next_arrival=last.arrival + 1,
        arrival_ms=last.arrival_ms,
        rows=0,
        base=boot.dataset,
    )
    started = time.perf_counter()
    snapshot = Snapshots(workspace.state, clock).write(fold, mark)
    return {
        "cards": int(fold.state.entities["card"].pool[:, 0].sum()),
        "snapshot_bytes": snapshot.bytes,
        "snapshot_write_s": round(time.perf_counter() - started, 2),
    }


def measure_commit(
    workspace: Workspace, bodies: Sequence[bytes], progress: Progress
) -> dict[str, Any]:
    """Decide transactions as the scorer does, and measure what their commits take.

    Deciding comes first and is not measured. Then, group by group: encrypt every private part,
    as a stand-in for what will be, encode, append, and sync.
    """
    clock = SystemClock()
    scorer = build_scorer(workspace, clock=clock, progress=progress)
    ledger = scorer.ledger
    try:
        groups = list(_decided(scorer, Door(make_encoder(workspace), clock), bodies, progress))
        cipher = AESGCM(AESGCM.generate_key(256))
        took: list[float] = []
        sealing_s = 0.0
        cpu_s, started = time.process_time(), time.perf_counter()
        for number, (part, private) in enumerate(groups):
            begun = time.perf_counter()
            _encrypt(cipher, number, private)
            encrypted = time.perf_counter()
            ledger.commit([part])
            took.append(time.perf_counter() - begun)
            sealing_s += encrypted - begun
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - started
    finally:
        ledger.close()
    records = len(bodies)
    return {
        "records_per_s": round(records / cpu_s),
        "records_per_s_by_the_clock": round(records / wall_s),
        "p50_commit_ms": _ms(took, 50),
        "p99_commit_ms": _ms(took, 99),
        "cpu_us_per_record": round(cpu_s / records * 1e6, 2),
        "encryption_us_per_record": round(sealing_s / records * 1e6, 2),
        "group_records": GROUP_ROWS,
        "features": len(scorer.scoring.features.names),
    }


def _decided(
    scorer: RunningScorer, door: Door, bodies: Sequence[bytes], progress: Progress
) -> Iterator[tuple[Decided, list[bytes]]]:
    """Yield decided groups, and of each record as many bytes as its private part will have."""
    for start in range(0, len(bodies), GROUP_ROWS):
        rows = [door.admit(body) for body in bodies[start : start + GROUP_ROWS]]
        events = np.frombuffer(b"".join([row.event for row, _ in rows]), EVENT).copy()
        batch = scorer.engine.decide(events)
        canonicals = [row.canonical for row, _ in rows]
        digests = np.array([digest for _, digest in rows], np.uint64)
        fixed = bytes(_PRIVATE_HEAD_BYTES)
        private = [
            b"".join((fixed, row.event, vector.tobytes(), row.canonical))
            for (row, _), vector in zip(rows, batch.features, strict=True)
        ]
        yield (scorer.ledger.boot, batch, canonicals, digests), private
        progress("decide", start + len(rows), len(bodies))


def _encrypt(cipher: AESGCM, group: int, private: Sequence[bytes]) -> None:
    base = group * GROUP_ROWS
    for number, content in enumerate(private, base):
        cipher.encrypt(number.to_bytes(12, "little"), content, _PUBLIC)


def measure_sealing(workspace: Workspace, scratch: Path) -> dict[str, Any]:
    """Seal a copy of the journal and return what a record takes, its share of the index included.

    Raises
    ------
    JournalError
        If nothing can be sealed.
    """
    shutil.copytree(workspace.journal, scratch)
    folder = Folder(scratch)
    started = time.perf_counter()
    done = [found for n in sealable(folder) if (found := seal(folder, n, SystemClock()))]
    took_s = time.perf_counter() - started
    records = sum(found.records for found in done)
    if not records:
        raise JournalError("no segment was sealed; accepted: a journal with a whole segment")
    raw_bytes = sum(found.raw_bytes for found in done)
    shutil.rmtree(scratch)
    return {
        "bytes_per_record": round(sum(found.sealed_bytes for found in done) / records, 1),
        "raw_bytes_per_record": round(raw_bytes / records, 1),
        "sealing_mb_per_s": round(raw_bytes / took_s / 1e6, 1),
    }


def measure_following(
    workspace: Workspace, scratch: Path, *, records_per_s: int, seconds: float
) -> dict[str, Any]:
    """Let a process write at a rate, follow it from here, and return how old records are read."""
    writer = multiprocessing.get_context("spawn").Process(
        target=write_at_rate, args=(workspace.journal, scratch, records_per_s, seconds)
    )
    clock = SystemClock()
    ages: list[NDArray[np.int64]] = []
    follower = Follower(scratch)
    writer.start()
    try:
        while True:
            running = writer.is_alive()
            if records := follower.read():
                ages += [
                    clock.now_ms() - stretch.batch.events["arrival_ms"]
                    for stretch in decode_stretches(records, follower.position)
                ]
            elif not running:
                break
            else:
                time.sleep(_IDLE_S)
    finally:
        writer.join(_PATIENCE_S)
    if writer.exitcode:
        raise JournalError(f"the process that writes ended with {writer.exitcode}")
    age_ms = np.concatenate(ages)
    shutil.rmtree(scratch)
    return {
        "follow_delay_p99_s": round(float(np.percentile(age_ms, 99)) / 1000, 3),
        "follow_delay_max_s": round(float(age_ms.max()) / 1000, 3),
        "follow_records_per_s": round(len(age_ms) / seconds),
    }


def write_at_rate(source: Path, target: Path, records_per_s: int, seconds: float) -> None:
    """Write the decisions of one journal into another, again and again, at a rate."""
    clock = SystemClock()
    ledger = Ledger(target, clock, segment_bytes=256 << 20, ids_max=1 << 20, horizon_ms=DAY_MS)
    groups = list(_groups(source))
    ledger.recover(1, lambda _events: None, lambda _rows: None)
    ledger.start(_BOOT)
    wanted, done, started = int(records_per_s * seconds), 0, time.perf_counter()
    for batch, canonicals in itertools.cycle(groups):
        if done >= wanted:
            break
        early_s = done / records_per_s - (time.perf_counter() - started)
        if early_s > 0:
            time.sleep(early_s)
        ledger.stamp(batch.events, clock.now_ms())
        digests = np.arange(done + 1, done + 1 + len(batch), dtype=np.uint64)
        ledger.commit([(ledger.boot, batch, canonicals, digests)])
        done += len(batch)
    ledger.close()


def _groups(source: Path) -> Iterator[tuple[Batch, list[bytes]]]:
    """Yield decisions of a journal in groups as the engine makes them."""
    for records, position in Reading(source).chunks(_SOURCE_ROWS):
        for stretch in decode_stretches(records, position):
            told = stretch.batch
            for start in range(0, len(told) - GROUP_ROWS + 1, GROUP_ROWS):
                part = slice(start, start + GROUP_ROWS)
                yield batch_part(told, part), stretch.canonicals[part]
        return


def _ms(took_s: Sequence[float], percentile: float) -> float:
    return round(float(np.percentile(took_s, percentile)) * 1000, 3)
