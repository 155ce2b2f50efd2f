"""The table of past transactions: one Parquet file per import, and a manifest of them.

The manifest is the truth: a file it does not name does not exist. It is replaced last, so
a crash at any moment leaves the table as it was before or as it is after, never between.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay import durable
from assay.clock import Clock, SystemClock
from assay.datasets.stream_columns import STORED, events_of
from assay.errors import DatasetError
from assay.records import Events, empty_events

_MANIFEST: Final = "manifest.json"
_FORMAT: Final = 1
_ENTRY: Final = {"file", "sha256", "rows", "first_ms", "last_ms", "fields", "created_ms"}
_NO_FIELDS: Final = ("arrival", "arrival_ms", "flags", "reserved_2", "reserved_4")


@dataclass(frozen=True)
class History:
    """All rows of a table, by (event_time, transaction_id).

    Attributes
    ----------
    events : ndarray of `EVENT`, shape (n,)
        With arrival 1 to n and the event time as arrival time.
    transaction_ids : Series of text, shape (n,)
    fraud : ndarray of int8, shape (n,)
        1 is fraud, 0 genuine, -1 unknown.
    reported_ms : ndarray of int64, shape (n,)
        When the label became known, UTC milliseconds; -1 where unknown.
    fields : frozenset of str
        Columns of `EVENT` and fields of `Transaction` that any row has a value of.
    snapshot : str
        Digest of the contents: equal snapshots hold equal rows.
    """

    events: Events
    transaction_ids: pl.Series
    fraud: NDArray[np.int8]
    reported_ms: NDArray[np.int64]
    fields: frozenset[str]
    snapshot: str


class TransactionTable:
    """Transactions with their labels, in a folder.

    Parameters
    ----------
    folder : Path
        Is made by the first `append`.
    clock : Clock
        Tells when an import happened.
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self._folder = folder
        self._clock = clock or SystemClock()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers out, of this process and others.

        Raises
        ------
        DatasetError
            If another import is running.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DatasetError(
                    "another import is writing this table; accepted: one at a time, try again"
                ) from None
            yield

    def known(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the 64-bit hashes of ids and bodies of all rows."""
        frames = [self._frame(entry, ["transaction", "body"]) for entry in self._entries()]
        if not frames:
            return np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        frame = pl.concat(frames)
        return frame["transaction"].to_numpy(), frame["body"].to_numpy()

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
        """Add rows, all or none.

        Parameters
        ----------
        events, transaction_ids, bodies, fraud, reported_ms
            Columns of n ≥ 1 rows, by (event_time, transaction_id), with new ids only.
        provenance : dict
            Where they come from, for the manifest; ``fields`` names the fields given.
        """
        assert len(events), "an import without rows is not appended"
        columns = {name: events[name] for name in STORED}
        frame = pl.DataFrame(
            columns
            | {
                "transaction_id": transaction_ids,
                "body": bodies,
                "fraud": fraud,
                "reported_ms": reported_ms,
            }
        )
        buffer = BytesIO()
        frame.write_parquet(buffer, compression="zstd", compression_level=1)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        entries = self._entries()
        given = provenance.get("fields", [])
        assert isinstance(given, list)
        entry = provenance | {
            "file": f"{len(entries) + 1:06d}-{digest[:8]}.parquet",
            "sha256": digest,
            "rows": len(events),
            "first_ms": int(events["event_time"].min()),
            "last_ms": int(events["event_time"].max()),
            "fields": sorted(present_fields(events) | set(given)),
            "created_ms": self._clock.now_ms(),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        durable.replace(self._folder / str(entry["file"]), content)
        document = {"format": _FORMAT, "imports": [*entries, entry]}
        durable.replace(self._folder / _MANIFEST, json.dumps(document, indent=1).encode())

    def files(self) -> list[Path]:
        """Return the Parquet file of each import, the oldest first."""
        return [self._folder / Path(entry["file"]).name for entry in self._entries()]

    def last_ms(self, snapshot: str) -> int:
        """Return the largest event time when the table had a snapshot; 0 without rows."""
        return max((entry["last_ms"] for entry in self._entries_at(snapshot)), default=0)

    def imports(self, snapshot: str | None = None) -> list[dict[str, Any]]:
        """Return what the manifest says of each import, now or at a snapshot, oldest first."""
        return self._entries_at(snapshot)

    def rows(self, snapshot: str | None = None) -> int:
        """Return how many rows there are, or were when the table had a snapshot."""
        return sum(entry["rows"] for entry in self._entries_at(snapshot))

    def read(self, snapshot: str | None = None) -> History:
        """Return all rows, or those that were there when the table had a snapshot.

        Raises
        ------
        DatasetError
            If the table never had the snapshot, or a file is missing or damaged.
        """
        entries = self._entries_at(snapshot)
        if not entries:
            none = np.zeros(0, np.int64)
            ids = pl.Series("transaction_id", [], pl.String)
            fraud = none.astype(np.int8)
            return History(empty_events(0), ids, fraud, none, frozenset(), _snapshot([]))
        frame = pl.concat([self._frame(entry) for entry in entries])
        if len(entries) > 1:
            frame = frame.sort("event_time", "transaction_id")
        events = events_of(frame)
        events["arrival"] = np.arange(1, len(frame) + 1)
        events["arrival_ms"] = events["event_time"]
        return History(
            events,
            frame["transaction_id"],
            frame["fraud"].to_numpy(),
            frame["reported_ms"].to_numpy(),
            frozenset().union(*(entry["fields"] for entry in entries)),
            _snapshot(entries),
        )

    def _entries_at(self, snapshot: str | None) -> list[dict[str, Any]]:
        entries = self._entries()
        while snapshot is not None and _snapshot(entries) != snapshot:
            if not entries:
                raise DatasetError(
                    f"the table never had snapshot {snapshot[:12]}; accepted: the folder that the "
                    "journal began with, restore it"
                )
            entries.pop()  # imports only ever append
        return entries

    def _entries(self) -> list[dict[str, Any]]:
        path = self._folder / _MANIFEST
        try:
            document = json.loads(path.read_bytes())
            entries = document["imports"]
            whole = all(entry.keys() >= _ENTRY for entry in entries)
            if document["format"] != _FORMAT or not isinstance(entries, list) or not whole:
                raise KeyError  # noqa: TRY301 - one way out for all that is no manifest
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DatasetError(
                f"{_MANIFEST} of the table is damaged; accepted: format {_FORMAT}, restore it"
            ) from None
        return entries

    def _frame(self, entry: dict[str, Any], columns: list[str] | None = None) -> pl.DataFrame:
        name = entry["file"]
        try:
            content = (self._folder / Path(name).name).read_bytes()
        except OSError as error:
            raise DatasetError(
                f"table file {name} cannot be read: {error.strerror}; accepted: restore it"
            ) from None
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise DatasetError(
                f"table file {name} is damaged: its checksum differs from the manifest's; "
                f"accepted: restore it"
            )
        return pl.read_parquet(BytesIO(content), columns=columns)


def present_fields(events: Events) -> frozenset[str]:
    """Return the columns of `EVENT` that any of the events has a value of."""
    absent = empty_events(1)
    return frozenset(
        name
        for name in STORED
        if name not in _NO_FIELDS
        and not np.array_equal(
            events[name],
            np.broadcast_to(absent[name], len(events)),
            equal_nan=events[name].dtype.kind == "f",
        )
    )


def _snapshot(entries: list[dict[str, Any]]) -> str:
    contents = "\n".join(sorted(entry["sha256"] for entry in entries))
    return hashlib.sha256(contents.encode()).hexdigest()
