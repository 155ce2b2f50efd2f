"""Bring a user's file into a table: all that is acceptable, and a report on the rest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.errors import CardNumberError, InputError
from assay.ingest import zones
from assay.ingest.blocks import Block, read_blocks
from assay.ingest.dead_letters import DeadLetters
from assay.ingest.encode import Encoder
from assay.ingest.files import read_columns, read_pieces
from assay.ingest.firewall import contains_card_number, masked
from assay.ingest.mapping import Mapping
from assay.ingest.naming import Namer
from assay.ingest.quality import QualityReport, duplicate_error
from assay.ingest.rows import Rows
from assay.records import EVENT, FUTURE_ALLOWANCE_MS, Events, Imported, Transaction, to_builtins

Progress = Callable[[int, int], None]
"""Told how much of how much is read, in rows or bytes."""


class Table(Protocol):
    """Where accepted rows go."""

    def writing(self) -> AbstractContextManager[None]:
        """Keep other writers out."""
        ...

    def known(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the 64-bit hashes of ids and bodies of all rows."""
        ...

    def append(
        self,
        events: Events,
        transaction_ids: pl.Series,
        bodies: NDArray[np.uint64],
        fraud: NDArray[np.int8],
        reported_ms: NDArray[np.int64],
        *,
        provenance: dict[str, object],
    ) -> None:
        """Add rows that are sorted by (event_time, transaction_id), all or none."""
        ...


def import_file(
    path: Path,
    mapping: Mapping,
    encoder: Encoder,
    table: Table,
    dead_letters: Path,
    *,
    now_ms: int,
    since_ms: int | None = None,
    until_ms: int | None = None,
    progress: Progress | None = None,
) -> QualityReport:
    """Add a file's rows with an event time in [since_ms, until_ms) to a table.

    The table changes at the very end and at once: an import that is interrupted leaves it
    as it was. The rows wait in memory until then, at the peak up to about 1 kB each.
    Rows later than ``now_ms`` and `FUTURE_ALLOWANCE_MS` are rejected: one of them would make
    every event of the years before it late.

    Raises
    ------
    SettingsError
        If the mapping does not fit the file.
    DatasetError
        If the file cannot be read.
    CardNumberError
        If the file's name holds a card number.
    """
    if contains_card_number(path.name):
        raise CardNumberError("path")
    assert mapping.exempt <= encoder.exempt, "the encoder must know the mapping's exemptions"
    report = QualityReport()
    unmapped = mapping.unmapped(read_columns(path, mapping.delimiter))
    report.unmapped = [masked(name[:80]) for name in unmapped]
    with table.writing(), DeadLetters(dead_letters, mapping.secret_columns()) as letters:
        take = _Taker(encoder, mapping, letters, report, now_ms + FUTURE_ALLOWANCE_MS)
        for block in read_blocks(path, mapping, since_ms, until_ms):
            take(block)
            if progress is not None:
                progress(block.done, block.total)
        rows = take.rows()
        new, duplicates, conflicts = rows.parted(*table.known())
        _keep_repeats(path, mapping, rows.lines[duplicates], rows.lines[conflicts], letters)
        report.duplicates, report.conflicts = len(duplicates), len(conflicts)
        rows = rows.only(new).ordered()
        report.describe(rows.events, rows.fraud, rows.reported_ms)
        if len(rows):
            table.append(
                rows.events,
                rows.ids,
                rows.bodies,
                rows.fraud,
                np.maximum(rows.reported_ms, -1),
                provenance=_provenance(path, mapping, encoder, report),
            )
    return report


def read_transactions(
    path: Path,
    mapping: Mapping,
    encoder: Encoder,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> Iterator[tuple[bytes, bool | None]]:
    """Yield what an import accepts as the JSON bodies a client would send, with the truth.

    In order of event time, then id. ``card_id`` is in clear, as a client sends it; an id
    that the file lacks is the one that an import makes.
    """
    found: list[tuple[int, str, bytes, bool | None]] = []
    namer = Namer(encoder) if mapping.makes_id else None
    for block in read_blocks(path, mapping, since_ms, until_ms):
        for tx, fraud in zip(block.rows, block.fraud.tolist(), strict=True):
            if isinstance(tx, InputError):
                continue
            try:
                row = encoder.encode(tx)
            except InputError:
                continue
            named = namer.name(row).public_id if namer else tx.transaction_id
            body = msgspec.json.encode(to_builtins(tx) | {"transaction_id": named})
            assert isinstance(tx.event_time, int), "columns give milliseconds"
            found.append((tx.event_time, named, body, bool(fraud) if fraud >= 0 else None))
    found.sort(key=lambda row: row[:2])
    for _, _, body, fraud in found:
        yield body, fraud


class _Taker:
    """Encodes blocks; acceptable rows are collected, the others become dead letters."""

    def __init__(
        self,
        encoder: Encoder,
        mapping: Mapping,
        letters: DeadLetters,
        report: QualityReport,
        latest_ms: int,
    ) -> None:
        self._encoder, self._letters, self._report = encoder, letters, report
        self._latest_ms = latest_ms
        self._namer = Namer(encoder) if mapping.makes_id else None
        self._parts: list[Rows] = []
        self._given: Counter[str] = Counter()

    def __call__(self, block: Block) -> None:
        self._report.read += len(block.rows) + len(block.unreadable) + block.outside
        self._report.outside += block.outside
        for line in block.unreadable:
            error = InputError("", line.reason, "a row as the header says")
            self._report.count_rejection(line.line, error)
            self._letters.write_unreadable(line, error)
        encoded: list[Imported] = []
        good: list[int] = []
        for position, row in enumerate(block.rows):
            try:
                imported = self._encode(row)
            except InputError as error:
                self._reject(block, position, error)
            else:
                encoded.append(imported if self._namer is None else self._namer.name(imported))
                good.append(position)
        if good:
            self._collect(block, encoded, np.array(good, np.intp))

    def rows(self) -> Rows:
        """Return all that was accepted so far, and report how complete it is."""
        rows = Rows.joined(self._parts)
        given = sorted(self._given.items())
        self._report.presence = {name: count / len(rows) for name, count in given if count}
        return rows if self._namer is None else rows.settled()

    def _encode(self, row: Transaction | InputError) -> Imported:
        if isinstance(row, InputError):
            raise row
        imported = self._encoder.encode(row)
        assert isinstance(row.event_time, int), "columns give milliseconds"
        if row.event_time > self._latest_ms:
            raise InputError("event_time", "a time in the future", "a time not after the import")
        return imported

    def _reject(self, block: Block, position: int, error: InputError) -> None:
        line = int(block.lines[position])
        self._report.count_rejection(line, error)
        self._letters.write(line, error, block.raw, position)

    def _collect(self, block: Block, encoded: list[Imported], good: NDArray[np.intp]) -> None:
        body_hash = self._encoder.body_hash
        self._parts.append(
            Rows(
                np.frombuffer(b"".join([row.event for row in encoded]), EVENT),
                pl.Series([row.public_id for row in encoded], dtype=pl.String),
                np.array([body_hash(row) for row in encoded], np.uint64),
                block.fraud[good],
                block.reported_ms[good],
                block.lines[good],
            )
        )
        given = block.mapped[good] if len(good) < len(block.mapped) else block.mapped
        for name in given.columns:
            self._given[name] += len(given) - given[name].null_count()


def _keep_repeats(
    path: Path,
    mapping: Mapping,
    duplicates: NDArray[np.int64],
    conflicts: NDArray[np.int64],
    letters: DeadLetters,
) -> None:
    """Read the file once more for the rows whose id was there already."""
    left = dict.fromkeys(duplicates.tolist(), True) | dict.fromkeys(conflicts.tolist(), False)
    if not left:
        return
    for piece in read_pieces(path, mapping.columns(), mapping.delimiter):
        for row, line in enumerate(piece.lines.tolist()):
            if line in left:
                letters.write(line, duplicate_error(equal=left[line]), piece.frame, row)


def _provenance(
    path: Path, mapping: Mapping, encoder: Encoder, report: QualityReport
) -> dict[str, object]:
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "source": masked(path.name),
        "source_sha256": checksum,
        "mapping": mapping.digest,
        "fx": encoder.rates.version,
        "time_zones": zones.VERSION,
        "fields": sorted(report.presence),
    }
