"""Where a snapshot of the state stands in the stream."""

from __future__ import annotations

from typing import Protocol


class Mark(Protocol):
    """Where in the stream a snapshot of the state was taken."""

    @property
    def position(self) -> int:
        """What stands before it is in the state."""
        ...

    @property
    def next_arrival(self) -> int:
        """The number of the first input after it."""
        ...

    @property
    def arrival_ms(self) -> int:
        """Arrival of the last input before it."""
        ...

    @property
    def rows(self) -> int:
        """Events folded since the stream began."""
        ...
