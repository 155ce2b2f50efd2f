"""Asks a program whether it is well."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


async def healthy(url: str, timeout_s: float) -> bool:
    """Tell whether ``GET /health`` is answered with 200 in time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _ask(url)
    except (OSError, ValueError, TimeoutError):
        return False


async def _ask(url: str) -> bool:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        host = f"Host: {parts.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(f"GET /health HTTP/1.1\r\n{host}".encode())
        line = await reader.readline()
        return line.split(b" ")[1:2] == [b"200"]
    finally:
        writer.close()
