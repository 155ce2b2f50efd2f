"""Looks decisions up beside the traffic: off the event loop, one at a time, never many waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from assay.errors import UnavailableError

WAITING_MAX: Final = 64
"""Most lookups between request and answer: each takes milliseconds of one thread."""


class Lookups:
    """Runs a lookup that reads the disk in a thread of its own.

    Parameters
    ----------
    find : callable
        From a decision's id to the document that tells all about it; None if there is none.
    """

    def __init__(self, find: Callable[[str], bytes | None]) -> None:
        self._find = find
        self._pool = ThreadPoolExecutor(1, "assay-lookup")
        self._waiting = 0

    async def __call__(self, decision_id: str) -> bytes | None:
        """Return a decision's document.

        Raises
        ------
        UnavailableError
            If too many are waiting.
        """
        if self._waiting >= WAITING_MAX:
            raise UnavailableError(f"{self._waiting} lookups are waiting; send this one again")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._find, decision_id)
        finally:
            self._waiting -= 1
