"""What the worker needs of the other stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from assay.records import Stretch


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
