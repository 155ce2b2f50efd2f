"""Runs the app on Granian inside this process, until a signal or a failed journal stops it."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from assay.errors import SettingsError
from assay.serving.app import App
from assay.serving.engine import Engine

log = logging.getLogger("assay.serving")


def free_port(host: str, port: int) -> int:
    """Return the port to listen on: the one asked for, or a free one for 0.

    Raises
    ------
    SettingsError
        If the address cannot be listened on.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port} ({error.strerror}); stop what listens there, "
                "or set another port with --port or ASSAY_PORT"
            ) from None
        return int(probe.getsockname()[1])


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
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=5_000, pipeline_flush=True),
        websockets=False,
        log_enabled=False,
        backlog=1024,
    )
    _quiet_collector()
    engine.start(loop)
    engine.on_failure = server.stop
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    serving = asyncio.create_task(server.serve())
    await _listening(host, port, serving)
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


async def _listening(host: str, port: int, serving: asyncio.Task[None]) -> None:
    """Wait until the port answers, so that *ready* is true when it is said."""
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            await writer.wait_closed()
            return
