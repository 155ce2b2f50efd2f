"""What a snapshot of the feature state says about itself, in a small checksummed file.

The file is one line of JSON and one line with its checksum, in every format to come, so that a
newer one is told from a damaged one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from xxhash import xxh3_128_hexdigest

from assay.errors import DamageError, JournalError

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"

T = TypeVar("T")


@dataclass(frozen=True)
class Mark:
    """A place in a stream: the state is what the events before it left behind.

    Attributes
    ----------
    stream : str
        Name of the stream, as `Follower.stream` gives it.
    position : int
        Where the journal goes on.
    next_arrival : int
        The number that the next input gets.
    arrival_ms : int
        Arrival of the newest record before it.
    rows : int
        Events folded since the stream began, without the history before it.
    base : str
        Snapshot of the history that the stream began with.
    checks_from : int
        Pieces of the state equal those of a scorer that started at this arrival or later. It is 0
        for what was folded from the history and the whole journal, as a scorer folds it; what was
        folded from the rest of a journal has the same entities in other places, and equals only
        what went on from it.
    """

    stream: str
    position: int
    next_arrival: int
    arrival_ms: int
    rows: int
    base: str
    checks_from: int = 0


class Section(Struct, frozen=True):
    """The memory of one entity, in a file of its own: the pages in use, one after the other.

    Attributes
    ----------
    digest : str
        What laid it out and wrote it, see `sections`.
    pool : tuple
        Slots taken, blocks taken and the list of freed blocks, for each shard.
    sums : tuple of str
        Checksum of each range of pages.
    bytes : int
    """

    digest: str
    pool: tuple[tuple[int, int, int], ...]
    sums: tuple[str, ...]
    bytes: int


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """What a manifest holds.

    Attributes
    ----------
    format : int
    mark : Mark
    feature_set : str
        Digest of the feature set that wrote it; others may load it too.
    bounds : dict
        ``lateness_ms``, ``entities_max`` and ``events_max``.
    sections : dict
        By entity.
    scalars : tuple of int
        Shard time, entities refused, events refused.
    state : str
        `Fold.digest` of the state.
    created_ms : int
    """

    format: int
    mark: Mark
    feature_set: str
    bounds: dict[str, int]
    sections: dict[str, Section]
    scalars: tuple[int, int, int]
    state: str
    created_ms: int


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on disk: its folder, and what its manifest says."""

    path: Path
    body: Body

    @property
    def mark(self) -> Mark:
        """Return its place in the stream."""
        return self.body.mark

    @property
    def bytes(self) -> int:
        """Return what its sections take on disk."""
        return sum(section.bytes for section in self.body.sections.values())

    @property
    def digests(self) -> dict[str, str]:
        """Return the digest of each entity's section."""
        return {name: section.digest for name, section in self.body.sections.items()}


def encode_manifest(body: Body) -> bytes:
    """Return the file's content."""
    text = msgspec.json.encode(body)
    return text + b"\n" + xxh3_128_hexdigest(text).encode() + b"\n"


def read_manifest(folder: Path) -> Snapshot:
    """Return the snapshot in a folder.

    Raises
    ------
    DamageError
        If its manifest is missing or changed.
    JournalError
        If it cannot be read, which may pass, or is of a newer format.
    """
    name = f"{folder.name}/{MANIFEST}"
    try:
        content = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise DamageError(name, 0, "it is missing") from None
    except OSError as error:
        raise JournalError(
            f"{name} cannot be read: {error.strerror}; accepted: a snapshot that can be, an older "
            "one is taken"
        ) from None
    text, _, rest = content.partition(b"\n")
    if rest != xxh3_128_hexdigest(text).encode() + b"\n":
        raise DamageError(name, 0, "its checksum is another")
    found = _decode(name, text, dict[str, Any]).get("format")
    if found != FORMAT:
        raise JournalError(f"{name} has format {found!r}; accepted: {FORMAT}, or a newer Assay")
    return Snapshot(folder, _decode(name, text, Body))


def _decode(name: str, text: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise DamageError(name, 0, str(error)) from None
