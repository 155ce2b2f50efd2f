"""What the worker needs of the other stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from assay.records import Check, Events, Gap, Stretch, Switch

if TYPE_CHECKING:
    from assay.worker.kept_state import KeptState


class Follower(Protocol):
    """Reads the journal while the scorer writes it."""

    @property
    def position(self) -> int:
        """Where it goes on; never decreases."""
        ...

    @property
    def stream(self) -> str:
        """Name of the stream; ``""`` while there is none."""
        ...

    def read(self, records_max: int) -> list[tuple[int, bytes]]:
        """Return whole records at or after the position, none if there are none yet."""
        ...

    def behind_bytes(self) -> int:
        """Return how much is not read yet."""
        ...

    def sync(self) -> None:
        """Make what was read durable, so that nothing made of it outlives it."""
        ...


Decode = Callable[[list[tuple[int, bytes]], int], list[Stretch]]
"""From records, and the position after them, to stretches."""


class Consumer(Protocol):
    """Makes something of the journal.

    It skips what lies before its own position: after a restart the worker reads from the
    smallest position of all its consumers on.
    """

    @property
    def name(self) -> str:
        """For metrics and messages."""
        ...

    @property
    def position(self) -> int:
        """Everything before it is durable in this consumer."""
        ...

    def follow(self, stream: str) -> None:
        """Learn whose journal the stretches come from, ahead of the first; refuse another."""
        ...

    def take(self, stretch: Stretch) -> None:
        """Take a stretch; stretches come in order."""
        ...

    def commit(self, position: int) -> None:
        """Make durable what is due of all that was taken; called about once a second.

        Parameters
        ----------
        position : int
            Where the journal goes on after everything that was taken.
        """
        ...


class Scorer(Protocol):
    """The scorer as the worker asks it; every method may raise `UnavailableError`."""

    def health(self) -> dict[str, Any]:
        """Return its state."""
        ...

    def counters(self) -> dict[str, Any]:
        """Return what it did since its start."""
        ...


class Live(Protocol):
    """Small documents that people look at, each replaced as a whole."""

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a document; None if there is none that can be read."""
        ...

    def write(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace some documents."""
        ...


class Folded(Protocol):
    """A part of the journal in order of arrival: a switch, then decisions, then a check."""

    @property
    def position(self) -> int:
        """Where the journal goes on after it."""
        ...

    @property
    def records(self) -> int:
        """How many it holds, of whatever kind."""
        ...

    @property
    def next_arrival(self) -> int:
        """The number after its last record's."""
        ...

    @property
    def arrival_ms(self) -> int:
        """When its last record arrived."""
        ...

    @property
    def events(self) -> Events:
        """Its n decisions' events."""
        ...

    @property
    def features(self) -> NDArray[np.float32]:
        """What was journalled for them, shape (n, f)."""
        ...

    @property
    def boots(self) -> NDArray[np.uint64]:
        """Arrival of the switch in force for each, shape (n,)."""
        ...

    @property
    def switch(self) -> Switch | None:
        """What it begins with."""
        ...

    @property
    def check(self) -> Check | None:
        """What it ends with."""
        ...


DecodeFolded = Callable[[list[tuple[int, bytes]], int], Sequence[Folded]]
"""From records, and the position after them, to parts."""

Follow = Callable[[int, Callable[[Gap], None]], Follower]
"""From a position, and who is told of gaps, to a follower."""


class Fold(Protocol):
    """The feature state and what advances it."""

    def __call__(self, events: Events) -> NDArray[np.float32]:
        """Fold events in and return the features each one had on its arrival."""
        ...

    def check(self, piece: int) -> int:
        """Return the 64-bit digest of a piece of the state."""
        ...


class States(Protocol):
    """Where a feature state comes from, and where it is kept."""

    def started(self) -> int:
        """Return the arrival of the scorer's newest start; 0 before the first."""
        ...

    def begin(self, behind: int, stopped: Callable[[], bool]) -> KeptState | None:
        """Return the newest state that can be had; None if told to stop meanwhile.

        Parameters
        ----------
        behind : int
            Only a snapshot at or after this position will do; 0: the history will do as well.
        stopped : callable

        Raises
        ------
        AssayError
            If there is none; it says why.
        """
        ...

    def keep(self, state: KeptState) -> dict[str, Any]:
        """Write a snapshot, drop all but the newest two; return ``position`` and ``bytes``."""
        ...

    def floor(self) -> int:
        """Return the position that the older of the two newest snapshots needs the journal from.

        It is 0 while there are not two.
        """
        ...


class Segments(Protocol):
    """The journal's files, apart from the one that is being written.

    Each method may raise `JournalError` or `OSError`.
    """

    def sealable(self) -> list[int]:
        """Return the numbers of the segments that are whole and not compressed yet."""
        ...

    def seal(self, number: int) -> tuple[int, int] | None:
        """Compress one; return its bytes before and after, None if it is damaged."""
        ...

    def verify_next(self) -> bool:
        """Read the next compressed segment through, round and round; False if it is damaged."""
        ...

    def quarantined(self) -> list[dict[str, Any]]:
        """Return ``number``, ``offset``, ``what``, ``found_ms`` of each damaged segment."""
        ...

    def drop(self, before_position: int) -> list[int]:
        """Delete what is older than the journal is kept and lies before a position."""
        ...
