"""Handlers that are no pages: health, metrics, files, sign-in and sign-out."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from assay.console import metrics as prometheus
from assay.console.failures import RefusedError
from assay.console.parts import (
    Asked,
    TheAssets,
    TheCheckKey,
    TheEntrance,
    TheMetrics,
    TheSessions,
    TheView,
)


@get("/")
async def home() -> Redirect:
    """Lead to the page that people look at most."""
    return Redirect("/live", status_code=303)


@get("/health")
async def health() -> dict[str, str]:
    """Tell that the console answers."""
    return {"status": "ok"}


@get("/metrics", sync_to_thread=True)
def metrics(request: Asked, metrics: TheMetrics, check_key: TheCheckKey) -> Response[bytes]:
    """Return what the console counts, to holders of an API key."""
    if check_key(request.headers.get("authorization")) is None:
        raise RefusedError(
            401, "unauthorised", "no valid API key; accepted: 'authorization: Bearer ak_…'"
        )
    return Response(metrics.text(), media_type=prometheus.CONTENT_TYPE)


@get("/assets/{digest:str}/{name:str}")
async def asset(
    request: Asked, digest: FromPath[str], name: FromPath[str], assets: TheAssets
) -> Response[bytes]:
    """Return a file; its address names its content, so it never changes."""
    found = assets.get(digest, name)
    if found is None:
        raise RefusedError(404, "not_found", "no such file; reload the page")
    headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(found.compressed, media_type=found.media_type, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)


@get("/sign-in", sync_to_thread=True)
def sign_in(
    request: Asked,
    sessions: TheSessions,
    view: TheView,
    entrance: TheEntrance,
    link: FromQuery[str] = "",
) -> Response[str]:
    """Redeem a one-time link, or explain how to get one."""
    token = sessions.redeem(link) if link else None
    page = view.render(request, "sign_in.html", used=bool(link), signed_in=token is not None)
    if token is not None:
        page.headers["set-cookie"] = entrance.set_cookie(token)
    return page


@post("/sign-out", status_code=200, sync_to_thread=True)
def sign_out(request: Asked, sessions: TheSessions, entrance: TheEntrance) -> Response[Any]:
    """End the session for good, here and in the browser."""
    sessions.close(request.auth)
    gone = entrance.set_cookie("", max_age_s=0)
    return Response("", headers={"hx-redirect": "/sign-in", "set-cookie": gone})
