"""What long work tells on its way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


Progress = Callable[[str, int, int], None]
"""Called with the step at hand, how much of it is done, and how much there is (0: unknown)."""


def quiet(_step: str, _done: int, _total: int) -> None:
    """Report no progress."""
