"""The console as an ASGI application: routes, what they are given, and errors as pages."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, NamedTuple

from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.exceptions import HTTPException
from sqlalchemy.exc import SQLAlchemyError

from assay.console import (
    data_page,
    live_page,
    models_page,
    performance_page,
    plumbing,
    state_part,
)
from assay.console.assets import Assets
from assay.console.entrance import Entrance
from assay.console.failures import RefusedError, error_body, panel_place, status_of
from assay.console.feed import Feed
from assay.console.guard import Guard, wants_json
from assay.console.metrics import Metrics
from assay.console.ports import CheckKey, Reports
from assay.console.sessions import Sessions
from assay.console.view import View
from assay.errors import AssayError

log = logging.getLogger("assay.console")

_BODY_BYTES_MAX = 16_384
_HANDLERS = (
    plumbing.home,
    plumbing.health,
    plumbing.metrics,
    plumbing.asset,
    plumbing.sign_in,
    plumbing.sign_out,
    state_part.state,
    models_page.models_json,
    models_page.compare_json,
    models_page.models_page,
    models_page.standing,
    models_page.compare,
    models_page.promote,
    models_page.rollback,
    live_page.live_json,
    live_page.live_page,
    live_page.live_events,
    live_page.demo,
    live_page.play,
    performance_page.performance_json,
    performance_page.performance_page,
    data_page.data_json,
    data_page.data_page,
)


class Console(NamedTuple):
    """The application, and the feed that must be stopped with it."""

    app: Guard
    feed: Feed


def build(
    reports: Reports,
    sessions: Sessions,
    check_key: CheckKey,
    exponents: dict[str, int],
    entrance: Entrance,
    *,
    auto_sign_in: bool,
) -> Console:
    """Connect routes, templates, sign-in and metrics.

    Parameters
    ----------
    reports : Reports
    sessions : Sessions
    check_key : CheckKey
    exponents : dict
        Decimals of the currencies that have another number of them than two.
    entrance : Entrance
        Where browsers find the console.
    auto_sign_in : bool
        Whether a browser on this machine is signed in by itself.
    """
    metrics = Metrics()
    feed, view = Feed(reports.live, metrics), View(Assets(), exponents)
    given = {
        "reports": reports,
        "sessions": sessions,
        "check_key": check_key,
        "metrics": metrics,
        "feed": feed,
        "view": view,
        "assets": view.assets,
        "entrance": entrance,
    }
    app = Litestar(
        list(_HANDLERS),
        dependencies={name: _give(value) for name, value in given.items()},
        exception_handlers={
            kind: partial(_on_error, view)
            for kind in (RefusedError, AssayError, HTTPException, Exception)
        },
        openapi_config=None,
        logging_config=None,
        request_max_body_size=_BODY_BYTES_MAX,
        debug=False,
    )
    guard = Guard(
        app, sessions, check_key, metrics, entrance, view.panel, auto_sign_in=auto_sign_in
    )
    return Console(guard, feed)


def _give(value: Any) -> Provide:
    return Provide(lambda: value, use_cache=True, sync_to_thread=False)


def _on_error(view: View, request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Tell an error in the shape that its reader understands, and never more than is meant to."""
    status, code, message = _told(error)
    if wants_json(request.url.path):
        return Response(
            error_body(code, message), status_code=status, media_type="application/json"
        )
    part = "hx-request" in request.headers
    template = "trouble.html" if part else "trouble_page.html"
    page = view.render(request, template, status, status=status, message=message)
    if part:
        page.headers |= panel_place(request.url.path)
    return page


def _told(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, RefusedError):
        return error.status, error.code, error.message
    if isinstance(error, AssayError):
        return status_of(error), error.code, str(error)
    if isinstance(error, HTTPException) and error.status_code < 500:
        return error.status_code, "request", error.detail
    log.error("a request failed", exc_info=error)
    if isinstance(error, SQLAlchemyError):
        return 503, "control", "the control database cannot be read now; try again"
    return 500, "internal", "the console could not answer; its log says why"
