"""Listening over HTTP inside this process, on Granian: what scorer, worker and console share."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from assay.errors import SettingsError

_HEADER_READ_MS = 5_000
_BACKLOG = 1024


def free_port(host: str, port: int, setting: str) -> int:
    """Return the port to listen on: the one asked for, or a free one for 0.

    Parameters
    ----------
    host : str
    port : int
    setting : str
        The setting that names the port, for the error.

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
                f"or set another with --port or ASSAY_{setting.upper()}"
            ) from None
        return int(probe.getsockname()[1])


def make_server(app: Any, host: str, port: int, interface: Interfaces = Interfaces.RSGI) -> Server:
    """Return a server of an app; headers that come slower than in 5 s are cut off."""
    return Server(
        app,
        address=host,
        port=port,
        interface=interface,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_READ_MS, pipeline_flush=True),
        websockets=False,
        log_enabled=False,
        backlog=_BACKLOG,
    )


async def listening(host: str, port: int, serving: asyncio.Task[None]) -> None:
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
