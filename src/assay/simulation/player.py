"""Plays transactions through a scorer's HTTP front, as payment systems would send them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one transaction: status (0: no answer), latency, and the body."""

    status: int
    latency_ms: float
    body: bytes

    def decision(self) -> dict[str, Any]:
        """Return the body decoded."""
        decoded = msgspec.json.decode(self.body)
        assert isinstance(decoded, dict)
        return decoded


def play(
    url: str,
    api_key: str,
    bodies: Sequence[bytes],
    *,
    connections: int = 16,
    on_reply: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Reply]:
    """Send bodies in order over a number of connections, each waiting for its answer.

    Parameters
    ----------
    url : str
        Of the scorer, such as ``http://127.0.0.1:8686``.
    api_key : str
    bodies : sequence of bytes
        JSON transactions, in order of event time.
    connections : int
        How many are in flight at once.
    on_reply : callable
        Told (done, total) as answers come.

    Returns
    -------
    list of Reply
        In the order of the bodies.
    """
    return asyncio.run(_play(url, api_key, bodies, connections, on_reply))


async def _play(
    url: str,
    api_key: str,
    bodies: Sequence[bytes],
    connections: int,
    on_reply: Callable[[int, int], None],
) -> list[Reply]:
    import aiohttp

    replies: list[Reply] = [Reply(0, 0.0, b"")] * len(bodies)
    waiting = iter(range(len(bodies)))
    headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:

        async def worker(numbers: Iterator[int]) -> None:
            for i in numbers:
                replies[i] = await _send(session, bodies[i])
                if i % 500 == 0:
                    on_reply(i, len(bodies))

        await asyncio.gather(*(worker(waiting) for _ in range(connections)))
    on_reply(len(bodies), len(bodies))
    return replies


async def _send(session: Any, body: bytes) -> Reply:
    import aiohttp

    started = time.perf_counter()
    try:
        async with session.post("/v1/decisions", data=body) as response:
            content = await response.read()
            return Reply(response.status, (time.perf_counter() - started) * 1000, content)
    except (aiohttp.ClientError, TimeoutError):
        return Reply(0, (time.perf_counter() - started) * 1000, b"")
