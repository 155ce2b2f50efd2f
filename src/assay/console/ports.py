"""What the console needs of the other stages: documents to show, and requests to pass on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Document = dict[str, Any]
"""A report as plain JSON values; docs/console.md lists the keys that pages read."""

CheckKey = Callable[[str | None], str | None]
"""From an ``Authorization`` header to the name of a valid API key, else None."""


class Reports(Protocol):
    """Everything that pages show and do. Calls may block: the console makes them in threads.

    Raises
    ------
    AssayError
        Any of them, with a text for the page; ReleaseError if a switch is refused.
    """

    def models(self) -> Document:
        """Return versions, what is live, and the history of switches."""
        ...

    def compare(self, a: str, b: str) -> Document:
        """Return two versions side by side."""
        ...

    def promote(self, model: str, by: str, expected_revision: int) -> Document:
        """Ask for a version to go live, unless somebody asked since ``expected_revision``."""
        ...

    def rollback(self, by: str, expected_revision: int) -> Document:
        """Ask for the version before, unless somebody asked since ``expected_revision``."""
        ...

    def live(self, hours: int) -> Document:
        """Return the traffic of the last ``hours`` of stream time."""
        ...

    def performance(self, from_ms: int | None, to_ms: int | None, model: str | None) -> Document:
        """Return how good the decisions of a period were."""
        ...

    def data(self) -> Document:
        """Return what was imported and streamed, and which model came from it."""
        ...

    def state(self) -> Document:
        """Return what ``scorer`` and ``worker`` are doing, as in the live document."""
        ...

    def stream_ms(self) -> int | None:
        """Return the newest event time seen; None while there is no traffic."""
        ...

    def demo(self) -> Document | None:
        """Return the running demo's scenarios; None if no demo runs."""
        ...

    def play(self, name: str, *, on: bool) -> None:
        """Ask the running demo to switch a scenario."""
        ...
