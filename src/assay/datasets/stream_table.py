"""The table of what the scorer decided and what became of it, which the worker writes.

It follows the journal. Rows wait in memory and are written as Parquet parts, which never
change; one manifest names them together with the position in the journal, and is replaced last.
So a kill at any moment loses nothing and doubles nothing: what the manifest does not name does
not exist, and what lies after its position is read again.
Small parts are merged into larger ones; a reader that finds a part gone reads the manifest anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from assay import durable
from assay.clock import Clock
from assay.datasets.stream_columns import decision_rows, label_rows
from assay.datasets.stream_manifest import MANIFEST, StreamManifest, StreamPart, damaged
from assay.errors import DatasetError
from assay.records import Stretch

ROWS_WAITING_MAX: Final = 65_536
"""Rows that are written without waiting for the time to flush."""

MERGED_PARTS: Final = 8
"""So many parts of one size become one of the next."""

SEALED_ROWS: Final = 262_144
"""A part of at least so many rows is merged no more; the largest hold eight times as many."""


class StreamTable:
    """Takes stretches of the journal and keeps them as Parquet parts.

    Parameters
    ----------
    folder : Path
        Made if missing. What a killed writer left unnamed in it is removed.
    owner_check : callable
        Raises if another writer has taken over; called before everything that is written.
    clock : Clock
    flush_s : int
        Seconds after which `commit` writes what waits.

    Raises
    ------
    DatasetError
        If the manifest is damaged.
    """

    name: Final = "table"

    def __init__(
        self, folder: Path, owner_check: Callable[[], None], clock: Clock, flush_s: int = 5
    ) -> None:
        owner_check()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._owner_check, self._clock = folder, owner_check, clock
        self._flush_ms, self._flushed_ms = flush_s * 1000, clock.now_ms()
        self._manifest = StreamManifest.load(folder)
        self._taken, self._last_arrival = self._manifest.position, self._manifest.last_arrival
        self._decisions: list[pl.DataFrame] = []
        self._labels: list[pl.DataFrame] = []
        self._remove_unnamed()

    @property
    def position(self) -> int:
        """Where the journal goes on after what is durable here."""
        return self._manifest.position

    @property
    def stream(self) -> str:
        """Name of the stream that the rows are of; ``""`` before it is known."""
        return self._manifest.stream

    def follow(self, stream: str) -> None:
        """Say whose journal the stretches come from; to be called before the first.

        Raises
        ------
        DatasetError
            If the table holds another stream: its rows and positions would be mixed.
        """
        if self.stream not in ("", stream):
            raise DatasetError(
                f"the table in {self._folder} is of stream {self.stream}, the journal of {stream}; "
                "accepted: move .assay/tables/stream away with the journal that it was made of"
            )
        if self.stream != stream:
            self._save(stream=stream)

    def take(self, stretch: Stretch) -> None:
        """Take what lies at or after the position and was not taken before."""
        last = self._last_arrival
        fresh = np.flatnonzero(stretch.positions >= self._taken)
        if len(fresh):
            self._decisions.append(decision_rows(stretch, fresh))
            self._last_arrival = max(last, int(stretch.batch.events["arrival"][fresh[-1]]))
        labels = [label for label in stretch.labels if label.arrival > last]
        if labels:
            self._labels.append(label_rows(labels))
            self._last_arrival = max(self._last_arrival, labels[-1].arrival)
        self._taken = max(self._taken, stretch.position)

    def commit(self, position: int) -> None:
        """Write what waits if it is time, or if it is much.

        Parameters
        ----------
        position : int
            Where the journal goes on after everything that was taken; less than the table's own
            position while another consumer catches up.
        """
        waiting = sum(map(len, self._decisions)) + sum(map(len, self._labels))
        due_ms = self._flushed_ms + self._flush_ms
        if waiting >= ROWS_WAITING_MAX or self._clock.now_ms() >= due_ms:
            self.flush(position)

    def flush(self, position: int) -> None:
        """Write what waits now: after it everything before `position` is durable here.

        Raises
        ------
        DatasetError
            If it cannot be written, or a part to be merged is damaged.
        """
        self._flushed_ms = self._clock.now_ms()
        if position <= self.position:
            return
        assert position >= self._taken, (position, self._taken)
        try:
            self._flush(position)
        except OSError as error:
            raise DatasetError(
                f"the stream's table cannot be written: {error.strerror}; accepted: free space, "
                "and leave to write in .assay/tables/stream; what waited is read again"
            ) from None

    def _flush(self, position: int) -> None:
        self._owner_check()
        parts = list(self._manifest.parts)
        for kind, waiting in (("decisions", self._decisions), ("labels", self._labels)):
            if waiting:
                parts.append(self._write(kind, pl.concat(waiting), parts))
        while run := _due(parts):
            parts = self._merge(parts, run)
        self._save(position=position, last_arrival=self._last_arrival, parts=tuple(parts))
        self._taken = position
        self._decisions, self._labels = [], []
        self._remove_unnamed()

    def _write(self, kind: str, frame: pl.DataFrame, parts: Sequence[StreamPart]) -> StreamPart:
        buffer = BytesIO()
        frame.write_parquet(
            buffer, compression="zstd", compression_level=1, row_group_size=SEALED_ROWS
        )
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        number = 1 + max((part.number for part in parts), default=0)
        file = f"{kind}-{number:08d}-{digest[:8]}.parquet"
        durable.replace(self._folder / file, content)
        times, n = frame["event_time"].to_numpy(), len(frame)
        rows, labels = (n, 0) if kind == "decisions" else (0, n)
        first_ms, last_ms = int(times.min()), int(times.max())
        return StreamPart(file, digest, rows, labels, first_ms, last_ms, self._clock.now_ms())

    def _merge(self, parts: list[StreamPart], run: list[StreamPart]) -> list[StreamPart]:
        kind = run[0].file.partition("-")[0]
        frame = pl.concat([self._read(part) for part in run])
        merged = self._write(kind, frame, parts)
        return [part for part in parts if part not in run] + [merged]

    def _read(self, part: StreamPart) -> pl.DataFrame:
        try:
            content = (self._folder / part.file).read_bytes()
        except OSError:
            raise damaged(part.file) from None
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise damaged(part.file)
        return pl.read_parquet(BytesIO(content))

    def _save(self, **changed: Any) -> None:
        changed["updated_ms"] = self._clock.now_ms()
        manifest = msgspec.structs.replace(self._manifest, **changed)
        self._owner_check()
        manifest.save(self._folder)
        self._manifest = manifest

    def _remove_unnamed(self) -> None:
        named = {MANIFEST, *(part.file for part in self._manifest.parts)}
        for path in self._folder.iterdir():
            if path.name not in named:
                path.unlink(missing_ok=True)


def _due(parts: Sequence[StreamPart]) -> list[StreamPart]:
    """Return the newest parts that shall become one, if there are enough of a size."""
    for of_kind in ([p for p in parts if p.rows], [p for p in parts if p.labels]):
        size = 1
        while size < SEALED_ROWS:
            size *= MERGED_PARTS
            run: list[StreamPart] = []
            for part in reversed(of_kind):
                if part.size >= min(size, SEALED_ROWS):
                    break
                run.append(part)
            if len(run) >= MERGED_PARTS:
                return run[::-1]
    return []
