"""The live document as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from assay.console.failures import RefusedError
from assay.console.metrics import Metrics
from assay.console.ports import Document
from assay.errors import AssayError

log = logging.getLogger("assay.console")

PERIOD_S: Final = 1.0
STREAMS_MAX: Final = 64
_CHECK_EVERY: Final = 3  # events between two looks whether the session still stands


class Feed:
    """Makes one document a second, however many browsers look at it.

    Parameters
    ----------
    report : callable
        From hours of stream time to the live document; blocks.
    metrics : Metrics
        Counts the open streams.
    """

    def __init__(self, report: Callable[[int], Document], metrics: Metrics) -> None:
        self._report, self._streams = report, metrics.streams
        self._open = 0
        self._stopping = asyncio.Event()
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._made: dict[int, tuple[float, bytes]] = {}

    async def events(self, hours: int, still_signed_in: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Yield an event about every second until the session ends or the console stops."""
        self._open += 1
        self._streams.inc()
        try:
            yield b"retry: 2000\n\n"
            sent = 0
            while not self._stopping.is_set():
                yield await self._latest(hours)
                sent += 1
                if sent % _CHECK_EVERY == 0 and not await asyncio.to_thread(still_signed_in):
                    return
                await self._pause()
        finally:
            self._open -= 1
            self._streams.dec()

    def check_room(self) -> None:
        """Refuse one stream more than the console keeps up with.

        Raises
        ------
        RefusedError
            If too many are open.
        """
        if self._open >= STREAMS_MAX:
            raise RefusedError(503, "busy", f"{self._open} streams are open; close a tab")

    def stop(self) -> None:
        """End every stream soon, so that none holds up the end of the process."""
        self._stopping.set()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), PERIOD_S)
        except TimeoutError:
            return

    async def _latest(self, hours: int) -> bytes:
        async with self._locks[hours]:
            made_at, event = self._made.get(hours, (-1e9, b""))
            if time.monotonic() - made_at > PERIOD_S * 0.9:
                event = await asyncio.to_thread(self._make, hours)
                self._made[hours] = (time.monotonic(), event)
            return event

    def _make(self, hours: int) -> bytes:
        try:
            return b"event: live\ndata: " + msgspec.json.encode(self._report(hours)) + b"\n\n"
        except AssayError as error:
            document = {"error": str(error)}
        except Exception:
            log.exception("the live document could not be made")
            document = {"error": "the console could not make this report; its log says why"}
        return b"event: trouble\ndata: " + msgspec.json.encode(document) + b"\n\n"
