"""The stream's table as any process reads it, without a lock, while the worker writes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from assay.datasets.stream_columns import DECISIONS, LABELS
from assay.datasets.stream_manifest import StreamManifest, StreamPart, damaged

Query = Callable[[pl.LazyFrame], pl.LazyFrame]
Wanted = Callable[[StreamPart], bool]


@dataclass(frozen=True)
class StreamView:
    """The table as it was at one position of the journal; it stays that, whatever is written.

    Attributes
    ----------
    folder : Path
    manifest : StreamManifest
        Names the parts, the stream and the position.
    """

    folder: Path
    manifest: StreamManifest

    @property
    def position(self) -> int:
        """Everything in the journal before it is here."""
        return self.manifest.position

    @property
    def stream(self) -> str:
        """Name of the scorer's stream; ``""`` while there is none."""
        return self.manifest.stream

    @property
    def parts(self) -> tuple[StreamPart, ...]:
        """The Parquet files, of decisions and of labels."""
        return self.manifest.parts

    @property
    def rows(self) -> int:
        """Number of decisions."""
        return sum(part.rows for part in self.parts)

    @property
    def label_rows(self) -> int:
        """Number of labels, each correction counted as one."""
        return sum(part.labels for part in self.parts)

    def decisions(
        self,
        columns: Sequence[str] = tuple(DECISIONS),
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> pl.DataFrame:
        """Return decisions in order of arrival.

        Parameters
        ----------
        columns : sequence of str, optional
            Names of `stream_columns.DECISIONS`; all by default.
        since_ms, until_ms : int, optional
            Only event times in [since_ms, until_ms), UTC milliseconds.

        Raises
        ------
        DatasetError
            If a part is missing or damaged.
        """
        assert set(columns) <= set(DECISIONS), columns
        time = pl.col("event_time")
        filters = [time >= since_ms] if since_ms is not None else []
        filters += [time < until_ms] if until_ms is not None else []

        def wanted(part: StreamPart) -> bool:
            after = since_ms is None or part.last_ms >= since_ms
            return part.rows > 0 and after and (until_ms is None or part.first_ms < until_ms)

        return self._collect(
            wanted,
            DECISIONS,
            lambda rows: (rows.filter(*filters) if filters else rows).select(columns),
        )

    def labels(self) -> pl.DataFrame:
        """Return the latest label of each transaction: by ``reported_ms``, then by arrival.

        Returns
        -------
        DataFrame
            Columns of `stream_columns.LABELS`; ``transaction`` is a key hash, and unique.

        Raises
        ------
        DatasetError
            If a part is missing or damaged.
        """
        rows = self._collect(lambda part: part.labels > 0, LABELS, lambda rows: rows)
        return rows.sort("reported_ms", "arrival").unique("transaction", keep="last")

    def check(self) -> None:
        """Hold every part to its checksum.

        Raises
        ------
        DatasetError
            If one is missing or damaged.
        """
        for part in self.parts:
            try:
                with (self.folder / part.file).open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                StreamView(self.folder, self._newer(self.manifest)).check()
                return
            if digest != part.sha256:
                raise damaged(part.file)

    def _collect(self, wanted: Wanted, schema: pl.Schema, query: Query) -> pl.DataFrame:
        manifest = self.manifest
        while True:
            files = [self.folder / part.file for part in manifest.parts if wanted(part)]
            rows = pl.LazyFrame(schema=schema)
            try:
                if files:
                    rows = pl.scan_parquet(files, glob=False)
                if manifest is not self.manifest:  # merged parts may hold rows after the view
                    rows = rows.filter(pl.col("arrival") <= self.manifest.last_arrival)
                return query(rows).collect()
            except FileNotFoundError:
                manifest = self._newer(manifest)
            except PolarsError:
                raise damaged("a part") from None

    def _newer(self, manifest: StreamManifest) -> StreamManifest:
        """Return the manifest of now, because a part of `manifest` has been merged away."""
        newer = StreamManifest.load(self.folder)
        behind = newer.stream != self.stream or newer.position < self.position
        if behind or newer.parts == manifest.parts:
            raise damaged("a part")
        return newer


def read_stream(folder: Path) -> StreamView:
    """Return what the worker has written so far; a folder that is not there is an empty table.

    Raises
    ------
    DatasetError
        If the manifest is damaged.
    """
    return StreamView(folder, StreamManifest.load(folder))
