"""What every request passes: host, sign-in, origin; and what every answer carries."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from assay.console.entrance import Entrance
from assay.console.failures import RefusedError, error_body, panel_place
from assay.console.hosts import host_name, is_loopback
from assay.console.metrics import Metrics
from assay.console.ports import CheckKey
from assay.console.sessions import ADMIN, Sessions, csrf_token

log = logging.getLogger("assay.console")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

_OPEN_PATHS: Final = ("/health", "/sign-in", "/assets/")
_JSON_PATHS: Final = ("/metrics", "/live/events")
_STREAM: Final = "/live/events"
_POLLED: Final = frozenset({_STREAM, "/live/demo", "/models/standing", "/state"})
"""What open pages ask for by themselves: no sign that anybody is there."""
_PROXIED: Final = ("via", "forwarded", "x-forwarded", "x-real-ip")

_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "x-frame-options": "DENY",
}


def wants_json(path: str) -> bool:
    """Return whether a path is read by programs: its errors are JSON, and never a redirect."""
    return path.endswith(".json") or path in _JSON_PATHS


class Guard:
    """An ASGI application around the console's routes.

    Afterwards ``scope["user"]`` names who asks, and ``scope["auth"]`` is the token of the session,
    empty for an API key.

    Parameters
    ----------
    app : App
        The routes.
    sessions : Sessions
    check_key : CheckKey
    metrics : Metrics
    entrance : Entrance
        Where browsers find the console.
    panel : callable
        From status and message to trouble as a part of a page.
    auto_sign_in : bool
        Whether a browser on this machine is signed in by itself.
    """

    def __init__(
        self,
        app: App,
        sessions: Sessions,
        check_key: CheckKey,
        metrics: Metrics,
        entrance: Entrance,
        panel: Callable[[int, str], str],
        *,
        auto_sign_in: bool,
    ) -> None:
        self._app, self._sessions, self._check_key = app, sessions, check_key
        self._metrics, self._entrance, self._panel = metrics, entrance, panel
        self._auto = auto_sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass the server's start and stop on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        answer = _Answer(send)
        started = time.perf_counter()
        try:
            await self._admit(scope, answer)
            await self._app(scope, receive, answer)
        except RefusedError as refused:
            await self._refuse(scope, answer, refused)
        except SQLAlchemyError:
            log.exception("sign-in could not be checked")
            trouble = RefusedError(503, "control", "the control database cannot be read now")
            await self._refuse(scope, answer, trouble)
        finally:
            route = scope.get("path_template") or "other"
            took_s = None if route == _STREAM else time.perf_counter() - started
            self._metrics.observe(str(route), scope["method"], answer.status, took_s)

    async def _admit(self, scope: Scope, answer: _Answer) -> None:
        headers = _headers(scope)
        if not self._entrance.serves(headers.get("host")):
            raise RefusedError(
                421,
                "host",
                f"this host is not served; accepted: {self._entrance.host}, an address, or the "
                "one in the setting console_url",
            )
        scope["user"], scope["auth"] = "", ""
        if scope["path"].startswith(_OPEN_PATHS):
            return
        await self._authenticate(scope, headers, answer)
        if scope["method"] not in {"GET", "HEAD", "OPTIONS"}:
            self._check_change(scope, headers)

    async def _authenticate(self, scope: Scope, headers: dict[str, str], answer: _Answer) -> None:
        if "authorization" in headers:
            name = await asyncio.to_thread(self._check_key, headers["authorization"])
            if name is None:
                raise RefusedError(
                    401, "unauthorised", "no valid API key; accepted: 'authorization: Bearer ak_…'"
                )
            scope["user"] = name
            return
        token = self._entrance.read_cookie(headers.get("cookie", ""))
        name = await asyncio.to_thread(self._check, token, scope["path"]) if token else None
        if name is None:
            if not self._signs_in_by_itself(scope, headers):
                raise RefusedError(
                    401,
                    "unauthorised",
                    "not signed in; accepted: a session (open a page first), or an API key",
                )
            token, name = await asyncio.to_thread(self._sessions.open), ADMIN
            answer.cookie = self._entrance.set_cookie(token)
        scope["user"], scope["auth"] = name, token

    def _check(self, token: str, path: str) -> str | None:
        return self._sessions.check(token, renew=path not in _POLLED)

    def _signs_in_by_itself(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Return whether this is a page that a browser on this machine opens, of its own accord."""
        return (
            self._auto
            and scope["method"] == "GET"
            and scope["http_version"] == "1.1"  # 1.0 is what proxies speak, and no browser
            and not wants_json(scope["path"])
            and is_loopback((scope.get("client") or [None])[0])
            and is_loopback(host_name(headers.get("host")))
            and headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
            and not any(name.startswith(_PROXIED) for name in headers)
        )

    def _check_change(self, scope: Scope, headers: dict[str, str]) -> None:
        """Make sure that a page of the console asked for this change."""
        if not scope["auth"]:
            raise RefusedError(
                403, "read_only", "API keys read only; accepted: a signed-in browser"
            )
        origin, host = headers.get("origin"), headers["host"]
        own = origin is None or self._entrance.owns(origin, scope["scheme"], host)
        if not own or headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise RefusedError(403, "origin", "the request came from another site")
        sent = headers.get("x-csrf-token", "").encode("utf-8", "replace")
        if not hmac.compare_digest(sent, csrf_token(scope["auth"]).encode()):
            raise RefusedError(403, "csrf", "the page is out of date; reload it and try again")

    async def _refuse(self, scope: Scope, send: Send, refused: RefusedError) -> None:
        """Send programs JSON, pages a panel, and who is not signed in to the sign-in page."""
        path, status = scope["path"], refused.status
        part = any(name == b"hx-request" for name, _ in scope["headers"])
        headers, body = {"content-type": "application/json"}, b""
        if wants_json(path) or (not part and (status != 401 or scope["method"] != "GET")):
            body = error_body(refused.code, refused.message)
        elif status == 401 and part:
            headers = {"hx-redirect": "/sign-in"}
        elif status == 401:
            headers, status = {"location": "/sign-in"}, 303
        else:
            headers = {"content-type": "text/html; charset=utf-8"} | panel_place(path)
            body = self._panel(status, refused.message).encode()
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


class _Answer:
    """Sends an answer with the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 499  # the client left before there was one
        self.cookie: str | None = None

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", []))
            present = {name for name, _ in headers}
            extra = dict(_HEADERS)
            if b"cache-control" not in present:
                extra["cache-control"] = "no-store"
            if self.cookie is not None:
                extra["set-cookie"] = self.cookie
            headers += [(name.encode(), value.encode()) for name, value in extra.items()]
            message["headers"] = headers
        await self._send(message)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
