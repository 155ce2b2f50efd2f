"""Waits, in the thread that writes, until the journal takes records again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from assay.errors import StalledError

log = logging.getLogger("assay.journal")

RETRY_S: Final = 0.1

_T = TypeVar("_T")


class Patience:
    """Does again what stalled, until it succeeds or nobody wants to wait any more.

    Parameters
    ----------
    folder : str
        Where the journal lies; it is left out of what is told.

    Attributes
    ----------
    stalled : str or None
        Why it waits, while it does.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._over = threading.Event()
        self.stalled: str | None = None

    def end(self) -> None:
        """From now on do not wait: fail instead. Any thread may call it."""
        self._over.set()

    def __call__(self, work: Callable[[], _T]) -> _T:
        """Return what `work` returns.

        Raises
        ------
        StalledError
            If it stalls and patience has ended.
        """
        while True:
            try:
                done = work()
            except StalledError as error:
                if self.stalled is None:
                    log.error("the journal takes no records for now: %s", error)  # noqa: TRY400
                # Health tells it to everybody: not where the workspace lies.
                self.stalled = str(error).removeprefix(f"{self._folder}: ")
                if self._over.wait(RETRY_S):
                    raise
            else:
                if self.stalled is not None:
                    self.stalled = None
                    log.info("the journal takes records again")
                return done
