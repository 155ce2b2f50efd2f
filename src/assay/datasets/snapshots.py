"""Records of dataset versions: what each snapshot that a model was trained on is made of."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from assay import durable
from assay.errors import DatasetError


class Snapshot(Struct, frozen=True):
    """What a model learned from.

    Attributes
    ----------
    snapshot : str
        Digest: equal snapshots hold equal rows.
    created_ms : int
        Wall time at which it was first used.
    imports : list of str
        SHA-256 of each import's file.
    stream : str
        Name of the scorer's stream; ``""`` if nothing of it is in.
    position : int
        Where in its journal the snapshot ends.
    imported_rows, stream_rows, stream_labels : int
        Rows of either origin, and transactions whose label came through the stream.
    rows, frauds : int
        All rows, and those that are labelled as fraud.
    """

    snapshot: str
    created_ms: int
    imports: list[str]
    stream: str
    position: int
    imported_rows: int
    stream_rows: int
    stream_labels: int
    rows: int
    frauds: int


def write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    """Keep a record; the first of a snapshot stays."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = msgspec.json.format(msgspec.json.encode(snapshot))
    durable.write_once(_path(folder, snapshot.snapshot), content)


def read_snapshot(folder: Path, digest: str) -> Snapshot:
    """Return the record of a snapshot.

    Raises
    ------
    DatasetError
        If there is none, or it is damaged.
    """
    return _read(_path(folder, digest))


def read_snapshots(folder: Path) -> tuple[list[Snapshot], list[str]]:
    """Return all records, newest first, and for each that is damaged a sentence."""
    found, errors = [], []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            found.append(_read(path))
        except DatasetError as error:
            errors.append(str(error))
    return sorted(found, key=lambda one: one.created_ms, reverse=True), errors


def _path(folder: Path, digest: str) -> Path:
    return folder / f"{digest[:16]}.json"


def _read(path: Path) -> Snapshot:
    try:
        snapshot = msgspec.json.decode(path.read_bytes(), type=Snapshot)
    except OSError:
        raise DatasetError(
            f"there is no record of snapshot {path.stem}; accepted: one that a model was trained on"
        ) from None
    except msgspec.DecodeError:
        raise DatasetError(f"snapshots/{path.name} is damaged; accepted: restore it") from None
    return snapshot
