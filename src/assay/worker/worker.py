"""The running worker: its work in threads, its front in the event loop."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Mapping

import uvloop

from assay.listener import listening, make_server
from assay.worker.front import Front

log = logging.getLogger("assay.worker")


class Worker:
    """Runs until a signal, or until one of its threads fails.

    Parameters
    ----------
    threads : mapping
        By name what each thread runs until the event that it is given is set.
    front : Front
    """

    def __init__(
        self, threads: Mapping[str, Callable[[threading.Event], None]], front: Front
    ) -> None:
        self._threads, self._front = dict(threads), front
        self._stop = threading.Event()
        self._failure: str | None = None

    def run(self, host: str, port: int, on_ready: Callable[[], None]) -> str | None:
        """Work until SIGINT or SIGTERM, then finish what was read.

        Returns
        -------
        str or None
            Why a thread failed, or None after a clean stop.
        """
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._serve(host, port, on_ready))

    async def _serve(self, host: str, port: int, on_ready: Callable[[], None]) -> str | None:
        events = asyncio.get_running_loop()
        server = make_server(self._front, host, port)
        for number in (signal.SIGINT, signal.SIGTERM):
            events.add_signal_handler(number, server.stop)
        serving = asyncio.create_task(server.serve())
        await listening(host, port, serving)

        def fail() -> None:
            events.call_soon_threadsafe(server.stop)

        threads = [
            threading.Thread(target=self._guarded, args=(run, fail), name=name)
            for name, run in self._threads.items()
        ]
        try:
            for thread in threads:
                thread.start()
            if not serving.done():
                on_ready()
            await serving
        finally:
            self._stop.set()
            for thread in threads:
                await events.run_in_executor(None, thread.join)
        return self._failure

    def _guarded(self, run: Callable[[threading.Event], None], fail: Callable[[], None]) -> None:
        """Run a thread's work; if it fails, so does the worker."""
        try:
            run(self._stop)
        except BaseException as error:
            log.exception("the %s failed", threading.current_thread().name)
            self._failure = f"{type(error).__name__}: {error}"
            fail()
