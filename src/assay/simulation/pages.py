"""Looks at the console's four pages as a browser would, and at what they hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from assay.errors import UnavailableError

Document = Mapping[str, Any]


def _live(page: Document) -> bool:
    return bool(sum(page["series"]["payments"]) and page["recent"] and page["latency"]["at_ms"])


def _performance(page: Document) -> bool:
    judged = any(row["matured"] and row["frauds"] for row in page["summary"])
    return bool(judged and page["series"]["bucket_ms"] and page["thresholds"])


def _models(page: Document) -> bool:
    return bool(page["live"] and len(page["models"]) >= 2 and page["switches"])


def _data(page: Document) -> bool:
    stream = page["stream"]
    return bool(page["imports"] and page["snapshots"] and stream and stream["rows"])


PAGES: Final[Mapping[str, Callable[[Document], bool]]] = {
    "live": _live,
    "performance": _performance,
    "models": _models,
    "data": _data,
}
"""The pages, and whether the document behind each is filled once two models are there."""


def filled_pages(url: str) -> list[str]:
    """Return the names of the pages that a running console shows filled.

    A page counts if it and its JSON twin answer 200 and the twin holds what the page is for.

    Parameters
    ----------
    url : str
        Of a console that signs in by itself.

    Raises
    ------
    UnavailableError
        If the console does not answer.
    """
    return asyncio.run(_look(url))


async def _look(url: str) -> list[str]:
    import aiohttp

    jar = aiohttp.CookieJar(unsafe=True)  # addresses as host names have cookies too
    timeout = aiohttp.ClientTimeout(total=30)
    try:
        async with aiohttp.ClientSession(url, cookie_jar=jar, timeout=timeout) as session:
            await _get(session, "/live")  # signs in
            return [name for name in PAGES if await _is_filled(session, name)]
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UnavailableError(f"the console at {url} does not answer: {error}") from None


async def _is_filled(session: Any, name: str) -> bool:
    page_status, page = await _get(session, f"/{name}")
    status, twin = await _get(session, f"/{name}.json")
    if (page_status, status) != (200, 200) or b"<html" not in page:
        return False
    return PAGES[name](msgspec.json.decode(twin))


async def _get(session: Any, path: str) -> tuple[int, bytes]:
    async with session.get(path) as response:
        return response.status, await response.read()
