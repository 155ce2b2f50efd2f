"""Runs the app on Granian inside this process, until a signal or a failed journal stops it."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable

import uvloop

from assay.listener import listening, make_server
from assay.serving.app import App
from assay.serving.engine import Engine

log = logging.getLogger("assay.serving")


def serve(
    app: App, engine: Engine, host: str, port: int, on_ready: Callable[[], None]
) -> str | None:
    """Serve until SIGINT or SIGTERM, finishing what was admitted.

    Returns
    -------
    str or None
        Why the engine failed, or None after a clean stop.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(app, engine, host, port, on_ready))


async def _serve(
    app: App, engine: Engine, host: str, port: int, on_ready: Callable[[], None]
) -> str | None:
    loop = asyncio.get_running_loop()
    server = make_server(app, host, port)
    _quiet_collector()
    engine.start(loop)
    engine.on_failure = server.stop

    def halt() -> None:
        engine.give_up()  # else a request that waits for the disk would keep the server up
        server.stop()  # type: ignore[no-untyped-call]

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, halt)
    serving = asyncio.create_task(server.serve())
    await listening(host, port, serving)
    if not serving.done():
        on_ready()
    await serving
    await loop.run_in_executor(None, engine.stop)
    return engine.failure


def _quiet_collector() -> None:
    """Keep the garbage collector off what start-up made, and rare after that.

    A full collection over a loaded model and its libraries stops every thread for about 100 ms.
    A request leaves no cycles behind, so reference counts free nearly everything.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
