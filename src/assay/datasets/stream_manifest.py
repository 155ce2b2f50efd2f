"""Which Parquet parts make up the stream's table, and where in the journal it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from assay import durable
from assay.errors import DatasetError

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1


class StreamPart(Struct, frozen=True):
    """One immutable Parquet file of decisions, or one of labels.

    Attributes
    ----------
    file : str
        Its name in the table's folder.
    sha256 : str
        Of the whole file.
    rows, labels : int
        How many decisions or labels it holds; one of the two is 0.
    first_ms, last_ms : int
        Smallest and largest event time in it, UTC milliseconds.
    created_ms : int
        Wall time.
    """

    file: str
    sha256: str
    rows: int
    labels: int
    first_ms: int
    last_ms: int
    created_ms: int

    @property
    def size(self) -> int:
        """Decisions or labels in it."""
        return self.rows + self.labels

    @property
    def number(self) -> int:
        """Its place among all parts that were ever written."""
        return int(self.file.split("-")[1])


class StreamManifest(Struct, frozen=True):
    """The truth about the table: a part that it does not name does not exist.

    Attributes
    ----------
    stream : str
        Name of the scorer's stream; ``""`` before anything came.
    position : int
        Everything in the journal before it is in the parts, and nothing after it.
    last_arrival : int
        Largest arrival number in the parts.
    updated_ms : int
        Wall time of the last change.
    parts : tuple of StreamPart
        In the order of their rows' arrival, decisions and labels each.
    """

    stream: str = ""
    position: int = 0
    last_arrival: int = 0
    updated_ms: int = 0
    parts: tuple[StreamPart, ...] = ()
    format: Literal[1] = FORMAT

    @classmethod
    def load(cls, folder: Path) -> StreamManifest:
        """Read a folder's manifest; without one the table is empty.

        Raises
        ------
        DatasetError
            If it is damaged.
        """
        try:
            manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=cls)
        except FileNotFoundError:
            return cls()
        except (msgspec.DecodeError, OSError):
            raise damaged(MANIFEST) from None
        if any(Path(part.file).name != part.file for part in manifest.parts):
            raise damaged(MANIFEST)
        return manifest

    def save(self, folder: Path) -> None:
        """Replace a folder's manifest: from then on its parts are the table."""
        durable.replace(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(self)))


def damaged(file: str) -> DatasetError:
    """Return the error for a file of the table that is missing or not what was written."""
    return DatasetError(
        f"{file} of the stream's table is missing or damaged; accepted: restore it, or stop the "
        "worker and move .assay/tables/stream away: it is made again from the journal"
    )
