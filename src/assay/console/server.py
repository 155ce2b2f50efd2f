"""Runs the console on Granian inside this process, until a signal stops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import uvloop
from granian.constants import Interfaces

from assay.console.app import Console
from assay.listener import listening, make_server


def serve(make: Callable[[], Console], host: str, port: int, on_ready: Callable[[], None]) -> None:
    """Serve what ``make`` builds until SIGINT or SIGTERM."""

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await serve_until(stop, make(), host, port, on_ready)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def serve_until(
    stop: asyncio.Event, console: Console, host: str, port: int, on_ready: Callable[[], None]
) -> None:
    """Serve until ``stop`` is set; open event streams end with it and hold nothing up."""
    server = make_server(console.app, host, port, Interfaces.ASGI)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await listening(host, port, serving)
    if not serving.done():
        on_ready()
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    console.feed.stop()
    stopping.cancel()
    if not serving.done():
        server.stop()  # type: ignore[no-untyped-call]
    await serving
