"""What every request passes: host, sign-in, origin; and what every answer carries."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from assay.console.failures import RefusedError, error_body
from assay.console.hosts import host_name, is_allowed, is_loopback
from assay.console.metrics import Metrics
from assay.console.ports import CheckKey
from assay.console.sessions import ABSOLUTE_MS, ADMIN, Sessions, csrf_token

log = logging.getLogger("assay.console")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

COOKIE: Final = "assay_session"
_OPEN_PATHS: Final = ("/health", "/sign-in", "/assets/")
_JSON_PATHS: Final = ("/metrics", "/live/events")
_STREAM: Final = "/live/events"

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


def session_cookie(token: str, *, secure: bool, max_age_s: int = ABSOLUTE_MS // 1000) -> str:
    """Return the ``Set-Cookie`` value of a session."""
    tail = "; Secure" if secure else ""
    return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{tail}"


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
    host : str
        What the console listens on, which is one of the accepted Host headers.
    auto_sign_in : bool
        Whether a browser on this machine is signed in by itself.
    """

    def __init__(
        self,
        app: App,
        sessions: Sessions,
        check_key: CheckKey,
        metrics: Metrics,
        *,
        host: str,
        auto_sign_in: bool,
    ) -> None:
        self._app, self._sessions, self._check_key = app, sessions, check_key
        self._metrics, self._host, self._auto = metrics, host, auto_sign_in

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
            await _refuse(scope, answer, refused)
        except SQLAlchemyError:
            log.exception("sign-in could not be checked")
            trouble = RefusedError(503, "control", "the control database cannot be read now")
            await _refuse(scope, answer, trouble)
        finally:
            route = scope.get("path_template") or "other"
            took_s = None if route == _STREAM else time.perf_counter() - started
            self._metrics.observe(str(route), scope["method"], answer.status, took_s)

    async def _admit(self, scope: Scope, answer: _Answer) -> None:
        headers = _headers(scope)
        if not is_allowed(host_name(headers.get("host")), self._host):
            raise RefusedError(
                421, "host", f"this host is not served; accepted: {self._host} or an address"
            )
        scope["user"], scope["auth"] = "", ""
        if scope["path"].startswith(_OPEN_PATHS):
            return
        await self._authenticate(scope, headers, answer)
        if scope["method"] not in {"GET", "HEAD", "OPTIONS"}:
            _check_change(scope, headers)

    async def _authenticate(self, scope: Scope, headers: dict[str, str], answer: _Answer) -> None:
        if "authorization" in headers:
            name = await asyncio.to_thread(self._check_key, headers["authorization"])
            if name is None:
                raise RefusedError(
                    401, "unauthorised", "no valid API key; accepted: 'authorization: Bearer ak_…'"
                )
            scope["user"] = name
            return
        token = _cookie(headers)
        name = await asyncio.to_thread(self._sessions.check, token) if token else None
        if name is None:
            if not self._signs_in_by_itself(scope, headers):
                raise RefusedError(401, "unauthorised", "not signed in; accepted: a session")
            token, name = await asyncio.to_thread(self._sessions.open), ADMIN
            answer.cookie = session_cookie(token, secure=scope["scheme"] == "https")
        scope["user"], scope["auth"] = name, token

    def _signs_in_by_itself(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Return whether this is a page that a browser on this machine opens, of its own accord."""
        return (
            self._auto
            and scope["method"] == "GET"
            and not wants_json(scope["path"])
            and is_loopback((scope.get("client") or [None])[0])
            and is_loopback(host_name(headers.get("host")))
            and headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
            and not any(name.startswith("x-forwarded") or name == "forwarded" for name in headers)
        )


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


def _cookie(headers: dict[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _check_change(scope: Scope, headers: dict[str, str]) -> None:
    """Make sure that a page of the console asked for this change."""
    if not scope["auth"]:
        raise RefusedError(403, "read_only", "API keys read only; accepted: a signed-in browser")
    origin = f"{scope['scheme']}://{headers['host']}"
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise RefusedError(403, "origin", "the request came from another site")
    if headers.get("origin", origin) != origin:
        raise RefusedError(403, "origin", "the request came from another site")
    sent = headers.get("x-csrf-token", "").encode("utf-8", "replace")
    if not hmac.compare_digest(sent, csrf_token(scope["auth"]).encode()):
        raise RefusedError(403, "csrf", "the page is out of date; reload it and try again")


async def _refuse(scope: Scope, send: Send, refused: RefusedError) -> None:
    away = refused.status == 401 and scope["method"] == "GET" and not wants_json(scope["path"])
    body = b"" if away else error_body(refused.code, refused.message)
    headers, status = [(b"content-type", b"application/json")], refused.status
    if away and any(name == b"hx-request" for name, _ in scope["headers"]):
        headers = [(b"hx-redirect", b"/sign-in")]
    elif away:
        headers, status = [(b"location", b"/sign-in")], 303
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
